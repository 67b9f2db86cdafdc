// swift-tools-version: 6.2
import PackageDescription

// Our side of the benchmarks, a package of its own: building swift-vqa does not build it.
let package = Package(
    name: "vqa-bench",
    platforms: [.macOS(.v14)],
    dependencies: [.package(name: "swift-vqa", path: "../../..")],
    targets: [
        .executableTarget(
            name: "vqa-bench", dependencies: [.product(name: "SwiftVQA", package: "swift-vqa")],
            swiftSettings: [
                .swiftLanguageMode(.v6), .treatAllWarnings(as: .error),
                .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
            ])
    ]
)
