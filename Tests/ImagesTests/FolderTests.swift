import Images
import Support
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The processor of a folder that holds the given files.
private func processor(_ files: [String: String]) throws -> ImageProcessor {
    let place = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    let folder = "\(place)/images-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    try makeFolder(folder)
    defer {
        for name in files.keys { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }
    for (name, text) in files { try writeFile(text, to: "\(folder)/\(name)") }
    return try ImageProcessor(folder: folder)
}

@Suite struct FolderTests {
    @Test("a folder's processor is the joint configuration before the single one")
    func folders() throws {
        let vit = #"{"image_processor_type":"ViTImageProcessor"}"#
        let blip = #"{"image_processor":{"image_processor_type":"BlipImageProcessor"}}"#
        #expect(errorText { _ = try processor([:]) }?.contains("preprocessor_config.json") == true)
        for (joint, name) in [
            (nil, "ViTImageProcessor"), (#"{"processor_class":"X"}"#, "ViTImageProcessor"),
            (#"{"image_processor":null}"#, "ViTImageProcessor"), (blip, "BlipImageProcessor"),
        ] {
            var files = ["preprocessor_config.json": vit]
            files["processor_config.json"] = joint
            #expect(try processor(files).name == name)
        }
        #expect(try processor(["processor_config.json": blip]).name == "BlipImageProcessor")
    }

    @Test("where no class is named, the model's type names it")
    func modelTypes() throws {
        for (type, name) in [
            ("instructblip", "BlipImageProcessor"), ("llava", "LlavaImageProcessor"),
            ("idefics2", "Idefics2ImageProcessor"), ("clip", "CLIPImageProcessor"),
        ] {
            let files = ["preprocessor_config.json": "{}", "config.json": #"{"model_type":"\#(type)"}"#]
            #expect(try processor(files).name == name)
        }
        let files = ["preprocessor_config.json": "{}", "config.json": #"{"model_type":"bert"}"#]
        #expect(errorText { _ = try processor(files) }?.contains("the key is missing") == true)
    }

    @Test("an original LLaVA folder names its tower and its padding in config.json")
    func llava() throws {
        let tower = #"{"mm_vision_tower":"openai/clip-vit-large-patch14-336","image_aspect_ratio":"#
        for (aspect, expected) in [
            (#""pad"}"#, ImageProcessor.llava().paddingToSquare()), (#""square"}"#, .llava()),
            ("null}", .llava()),
        ] {
            #expect(try processor(["config.json": tower + aspect]).fingerprint == expected.fingerprint)
        }
        let small = #"{"mm_vision_tower":"openai/clip-vit-large-patch14"}"#
        #expect(try processor(["config.json": small]).outputSize(width: 30, height: 40) == (224, 224))
        for (text, words) in [
            (tower + #""anyres"}"#, "image_aspect_ratio"), (tower + "7}", "image_aspect_ratio"),
            (#"{"mm_vision_tower":"google/siglip-base"}"#, "not a CLIP tower"), ("[", "config.json"),
        ] {
            let error = try #require(errorText { _ = try processor(["config.json": text]) })
            #expect(
                error.contains(words) && error.contains("config.json") && !error.contains("\n"), "\(error)")
        }
    }

    @Test("padding in config.json holds for the folder's own configuration too")
    func padding() throws {
        let clip = #"{"image_processor_type":"CLIPImageProcessor","image_mean":[0,0,0],"image_std":[1,1,1]}"#
        let files = ["preprocessor_config.json": clip, "config.json": #"{"image_aspect_ratio":"pad"}"#]
        let values = try processor(files).pixelValues(of: image(9, 3) { _, _, _ in 255 }).values
        #expect(values[0] == 0 && values[112 * 224] == 1)
    }
}
