/// The image processors of transformers that are followed here, with the settings that they have when the
/// JSON is silent (source: the class attributes of transformers' `image_processing_pil_*` modules).
struct ProcessorFamily {
    let name: String
    var resizing: ImageProcessor.Resizing
    var filter = ResizeFilter.bicubic
    var crop: ImageProcessor.Crop?
    var normalization = Normalization.clip
    /// What one number as `size` means: a square, or the shorter side.
    var numberIsSquare: Bool
    var convertsToRGB = true
    /// Takes `do_pad` as padding to a square with the mean colour.
    var padsToSquare = false

    static let all = [
        ProcessorFamily(
            name: "CLIPImageProcessor", resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false),
        ProcessorFamily(
            name: "LlavaImageProcessor", resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false, padsToSquare: true),
        ProcessorFamily(
            name: "SiglipImageProcessor", resizing: .exact(height: 224, width: 224), normalization: .half,
            numberIsSquare: false),
        ProcessorFamily(
            name: "BlipImageProcessor", resizing: .exact(height: 384, width: 384), numberIsSquare: true),
        ProcessorFamily(
            name: "ViTImageProcessor", resizing: .exact(height: 224, width: 224), filter: .bilinear,
            normalization: .half, numberIsSquare: true, convertsToRGB: false),
        ProcessorFamily(
            name: "DeiTImageProcessor", resizing: .exact(height: 256, width: 256),
            crop: ImageProcessor.Crop(height: 224, width: 224), normalization: .half, numberIsSquare: true,
            convertsToRGB: false),
        ProcessorFamily(
            name: "BitImageProcessor", resizing: .shortestEdge(224),
            crop: ImageProcessor.Crop(height: 224, width: 224), numberIsSquare: false),
        ProcessorFamily(
            name: "IdeficsImageProcessor", resizing: .exact(height: 224, width: 224), numberIsSquare: true),
        ProcessorFamily(
            name: "Idefics2ImageProcessor", resizing: .between(shortest: 378, longest: 980),
            filter: .bilinear,
            normalization: .half, numberIsSquare: false),
    ]

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
