// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library target and its tests. Arrows point down only: see docs/architecture.md.
func module(
    _ name: String, _ dependencies: [Target.Dependency], testing: [Target.Dependency] = []
) -> [Target] {
    [
        .target(name: name, dependencies: dependencies, swiftSettings: strict),
        .testTarget(
            name: name + "Tests", dependencies: [.byName(name: name)] + dependencies + testing,
            swiftSettings: strict),
    ]
}

let package = Package(
    name: "swift-vqa",
    platforms: [.macOS(.v14)],
    products: [
        .executable(name: "vqa", targets: ["vqa"]),
        .library(
            name: "SwiftVQA",
            targets: [
                "Support", "Torch", "Checkpoints", "Tokenizers", "Images", "Tasks", "Runs", "Backbones",
                "Methods",
                "Training",
            ]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Debian's C libraries.
        .systemLibrary(
            name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]),
        .systemLibrary(
            name: "CSnappy", pkgConfig: "snappy", providers: [.apt(["libsnappy-dev"]), .brew(["snappy"])]),
        .systemLibrary(
            name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
        .target(
            name: "CImages",
            linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("png"), .linkedLibrary("webp")]),
        // The C face of libtorch. The C++ behind it (shim/) is compiled by Tools/setup/build-engine.sh into a shared
        // library of its own, opened at the first tensor operation.
        .target(name: "CTorch", exclude: ["shim"]),
    ]
        + module("Support", ["CCrypto"])
        + module("Torch", ["CTorch", "Support"], testing: ["ProcessGroupHelper"])
        + module("Checkpoints", ["Torch", "Support"])
        + module("Tokenizers", ["Support"])
        + module("Images", ["CImages", "Support"])
        + module("Tasks", ["CSnappy", "CZstd", "Support"])
        + module("Runs", ["Support", "Yams"], testing: ["RunsKillHelper"])
        + module("Backbones", ["Checkpoints", "Images", "Tokenizers", "Torch"])
        + module("Methods", ["Backbones", "Tasks", "Runs", "Checkpoints", "Tokenizers", "Images", "Torch"])
        + module(
            "Training",
            ["Methods", "Backbones", "Tasks", "Runs", "Checkpoints", "Tokenizers", "Images", "Torch"],
            testing: ["TestWorld"])
        + [
            .executableTarget(
                name: "vqa",
                dependencies: [
                    "Training", "Support", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                ],
                swiftSettings: strict),
            .testTarget(
                name: "vqaTests", dependencies: ["vqa", "Checkpoints", "Support", "TestWorld"],
                swiftSettings: strict),
            // Models and data of a few kilobytes that tests train on.
            .target(
                name: "TestWorld", dependencies: ["Backbones", "Checkpoints", "Images", "Support", "Torch"],
                path: "Tests/TestWorld", swiftSettings: strict),
            // A program that the tests of process groups start several times.
            .executableTarget(
                name: "ProcessGroupHelper", dependencies: ["Torch", "Support"],
                path: "Tests/ProcessGroupHelper", swiftSettings: strict),
            // A program that the tests of the run folder start and kill.
            .executableTarget(
                name: "RunsKillHelper", dependencies: ["Runs", "Support"], path: "Tests/RunsKillHelper",
                swiftSettings: strict),
        ]
)
