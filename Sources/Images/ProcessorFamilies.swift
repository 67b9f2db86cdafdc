/// The image processors of transformers that are followed here, with the settings that they have when the
/// JSON is silent (source: the class attributes of transformers' `image_processing_pil_*` modules).
struct ProcessorFamily {
    let name: String
    /// `model_type`s whose class this is where no class is named (source: transformers' auto mappings).
    var models: [String]
    var resizing: ImageProcessor.Resizing
    var filter = ResizeFilter.bicubic
    var crop: ImageProcessor.Crop?
    var normalization = Normalization.clip
    /// What one number as `size` means: a square, or the shorter side.
    var numberIsSquare: Bool
    var convertsToRGB = true
    /// Takes `do_pad` as padding to a square with the mean colour.
    var padsToSquare = false
    /// Pads a batch to its largest image unless told not to.
    var padsBatch = false
    /// Knows `do_image_splitting`.
    var splitsImages = false
    /// Does not crop, whatever `do_center_crop` says.
    var ignoresCrop = false

    /// Idefics2: a size by edges has two of them.
    var needsBothEdges: Bool { if case .between = resizing { true } else { false } }

    static let all = [
        ProcessorFamily(
            name: "CLIPImageProcessor", models: ["clip", "vipllava"], resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false),
        ProcessorFamily(
            name: "LlavaImageProcessor", models: ["llava"], resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false, padsToSquare: true),
        ProcessorFamily(
            name: "SiglipImageProcessor", models: ["siglip", "paligemma"],
            resizing: .exact(height: 224, width: 224), normalization: .half,
            numberIsSquare: false),
        ProcessorFamily(
            name: "BlipImageProcessor", models: ["blip", "blip-2", "instructblip"],
            resizing: .exact(height: 384, width: 384), numberIsSquare: true),
        ProcessorFamily(
            name: "ViTImageProcessor", models: ["vit"], resizing: .exact(height: 224, width: 224),
            filter: .bilinear,
            normalization: .half, numberIsSquare: true, convertsToRGB: false),
        ProcessorFamily(
            name: "DeiTImageProcessor", models: ["deit"], resizing: .exact(height: 256, width: 256),
            crop: ImageProcessor.Crop(height: 224, width: 224), normalization: .half, numberIsSquare: true,
            convertsToRGB: false),
        ProcessorFamily(
            name: "BitImageProcessor", models: ["bit", "dinov2"], resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false),
        ProcessorFamily(
            name: "IdeficsImageProcessor", models: ["idefics"], resizing: .exact(height: 224, width: 224),
            numberIsSquare: true),
        ProcessorFamily(
            name: "Idefics2ImageProcessor", models: ["idefics2"],
            resizing: .between(shortest: 378, longest: 980),
            filter: .bilinear,
            normalization: .half, numberIsSquare: false, padsBatch: true, splitsImages: true,
            ignoresCrop: true),
    ]

    /// The family of a `model_type`.
    static func ofModel(_ type: String) -> ProcessorFamily? { all.first { $0.models.contains(type) } }

    /// The family of a class name. The fast and the Pillow form of a class and its older name are the same
    /// family.
    static func named(_ className: String) -> ProcessorFamily? {
        var stem = className
        for suffix in ["Fast", "Pil"] where stem.hasSuffix(suffix) { stem.removeLast(suffix.count) }
        if stem.hasSuffix("FeatureExtractor") {
            stem = stem.dropLast("FeatureExtractor".count) + "ImageProcessor"
        }
        return all.first { $0.name == stem }
    }
}
