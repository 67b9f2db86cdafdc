import Support

extension ImageProcessor {
    /// The processor that a configuration in the form of `preprocessor_config.json` asks for. What it does
    /// not say has the value that transformers gives it; keys that do not change pixels are not looked at,
    /// and a step (`do_…: true`) that is not known is an error.
    ///
    /// - Parameters:
    ///   - source: names the JSON in errors.
    ///   - modelType: `model_type` of the model's `config.json`, which tells the class where the JSON names
    ///     none.
    public init(_ json: JSON, source: String, modelType: String? = nil) throws {
        let settings = ProcessorSettings(json: json, source: source)
        let family = try settings.family(modelType: modelType)
        try settings.checkSteps(family)
        let normalization = try settings.normalization(default: family.normalization)
        self.init(
            name: family.name,
            transparency: try settings.flag("do_convert_rgb", default: family.convertsToRGB)
                ? .overWhite : .dropped,
            resizing: try settings.resizing(family), filter: try settings.filter(default: family.filter),
            crop: family.ignoresCrop ? nil : try settings.crop(family),
            tables: try settings.tables(normalization))
        meanColor = normalization.meanColor
        if try settings.flag("do_pad", default: family.padsBatch) {
            if family.padsToSquare { squareBackground = meanColor } else { padsBatch = true }
        }
        splitsImages = try family.splitsImages && settings.flag("do_image_splitting", default: false)
    }
}

/// The settings in a processor's JSON, each checked when it is read. A null is as good as a missing key.
private struct ProcessorSettings {
    let json: JSON
    let source: String

    func failure(_ key: String, _ why: String, remedy: String? = nil) -> VQAError {
        VQAError("cannot use the image processor", at: "\(source), \(key)", because: why, remedy: remedy)
    }

    private func value(_ key: String) -> JSON? {
        guard let value = json[key], !value.isNull else { return nil }
        return value
    }

    func flag(_ key: String, default fallback: Bool) throws -> Bool {
        guard let value = value(key) else { return fallback }
        guard let flag = value.bool else { throw failure(key, "expected true or false") }
        return flag
    }

    private func side(_ value: JSON, _ key: String) throws -> Int {
        // Old configurations hold whole numbers as 224.0.
        let number = value.integer ?? value.double.flatMap { Int(exactly: $0) }
        guard let number, (1...Image.maximumSide).contains(number) else {
            throw failure(key, "expected a whole number of pixels from 1 to \(Image.maximumSide)")
        }
        return number
    }

    // MARK: Parts

    func family(modelType: String?) throws -> ProcessorFamily {
        guard json.members != nil else { throw failure("the top", "expected an object") }
        let names = ProcessorFamily.all.map(\.name)
        guard let named = value("image_processor_type") ?? value("feature_extractor_type") else {
            if let family = modelType.flatMap(ProcessorFamily.ofModel) { return family }
            throw failure("image_processor_type", "the key is missing", remedy: "name one of \(list(names))")
        }
        guard let className = named.string else { throw failure("image_processor_type", "expected a text") }
        if let family = ProcessorFamily.named(className) { return family }
        let near = nearestMatch(to: className, in: names).map { "did you mean \($0)? " } ?? ""
        throw failure(
            "image_processor_type", "\(className.prefix(80)) is not supported",
            remedy: "\(near)supported are \(list(names))")
    }

    /// Refuses steps that would change pixels and are not done here.
    func checkSteps(_ family: ProcessorFamily) throws {
        var known = ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"]
        if family.splitsImages { known.append("do_image_splitting") }
        for member in json.members ?? [] where member.key.hasPrefix("do_") && !known.contains(member.key) {
            guard member.value == .bool(false) || member.value.isNull else {
                throw failure(
                    String(member.key.prefix(80)), "\(family.name) does not have this step here",
                    remedy: "set it to false")
            }
        }
        if try value("pad_size") != nil && flag("do_pad", default: family.padsBatch) {
            throw failure("pad_size", "padding to a given size is not supported", remedy: "set it to null")
        }
    }

    private func list(_ names: [String]) -> String { names.joined(separator: ", ") }

    func resizing(_ family: ProcessorFamily) throws -> ImageProcessor.Resizing {
        guard try flag("do_resize", default: true) else { return .none }
        if family.name == "IdeficsImageProcessor", let size = value("image_size") {
            let side = try side(size, "image_size")
            return .exact(height: side, width: side)
        }
        if family.name == "CLIPImageProcessor", try flag("use_square_size", default: false),
            case .shortestEdge(let side) = family.resizing
        {
            return .exact(height: side, width: side)
        }
        guard let size = value("size") else { return family.resizing }
        switch size {
        case .object(let members): return try resizing(members, family)
        case .array(let sides):
            guard sides.count == 2 else { throw failure("size", "expected two numbers, height and width") }
            return .exact(height: try side(sides[0], "size"), width: try side(sides[1], "size"))
        default:
            let side = try side(size, "size")
            guard family.numberIsSquare || !family.needsBothEdges else {
                throw failure(
                    "size", "one number does not tell \(family.name) both of its edges",
                    remedy: "give shortest_edge and longest_edge")
            }
            return family.numberIsSquare ? .exact(height: side, width: side) : .shortestEdge(side)
        }
    }

    private func resizing(_ members: [JSON.Member], _ family: ProcessorFamily) throws
        -> ImageProcessor.Resizing
    {
        var sides: [String: Int] = [:]
        for member in members where !member.value.isNull {
            sides[member.key] = try side(member.value, "size.\(member.key)")
        }
        if sides.count == 2, let height = sides["height"], let width = sides["width"] {
            return .exact(height: height, width: width)
        }
        if family.needsBothEdges {
            if sides.count == 2, let shortest = sides["shortest_edge"], let longest = sides["longest_edge"] {
                return .between(shortest: shortest, longest: longest)
            }
        } else if sides.count == 1, let shortest = sides["shortest_edge"] {
            return .shortestEdge(shortest)
        }
        let found = sides.keys.sorted().joined(separator: ", ")
        let edges = family.needsBothEdges ? "shortest_edge and longest_edge" : "shortest_edge"
        throw failure(
            "size", "\(family.name) with \(found.isEmpty ? "no sides" : found) is not supported",
            remedy: "give height and width, or \(edges)")
    }

    func filter(default fallback: ResizeFilter) throws -> ResizeFilter {
        guard let value = value("resample") else { return fallback }
        guard let code = value.integer, let filter = ResizeFilter(rawValue: code) else {
            throw failure("resample", "expected one of Pillow's codes 0 to 5")
        }
        return filter
    }

    func crop(_ family: ProcessorFamily) throws -> ImageProcessor.Crop? {
        guard try flag("do_center_crop", default: family.crop != nil) else { return nil }
        guard let size = value("crop_size") else {
            if let crop = family.crop { return crop }
            throw failure("crop_size", "do_center_crop is on and no size is given")
        }
        switch size {
        case .object:
            guard let height = size["height"], let width = size["width"] else {
                throw failure("crop_size", "expected height and width")
            }
            return ImageProcessor.Crop(
                height: try side(height, "crop_size.height"), width: try side(width, "crop_size.width"))
        case .array(let sides):
            guard sides.count == 2 else {
                throw failure("crop_size", "expected two numbers, height and width")
            }
            return ImageProcessor.Crop(
                height: try side(sides[0], "crop_size"), width: try side(sides[1], "crop_size"))
        default:
            let side = try side(size, "crop_size")
            return ImageProcessor.Crop(height: side, width: side)
        }
    }

    // MARK: Values

    func normalization(default fallback: Normalization) throws -> Normalization {
        let mean = try channels("image_mean", default: fallback.mean)
        let deviation = try channels("image_std", default: fallback.deviation)
        guard deviation.allSatisfy({ Float($0) != 0 }) else {
            throw failure("image_std", "a deviation is zero")
        }
        return Normalization(mean: mean, deviation: deviation)
    }

    private func channels(_ key: String, default fallback: [Double]) throws -> [Double] {
        guard let value = value(key) else { return fallback }
        if let number = value.double, number.isFinite { return [number, number, number] }
        let numbers = (value.array ?? []).compactMap(\.double).filter(\.isFinite)
        guard numbers.count == 3, value.array?.count == 3 else {
            throw failure(key, "expected three numbers")
        }
        return numbers
    }

    func tables(_ normalization: Normalization) throws -> [Float] {
        let rescales = try flag("do_rescale", default: true)
        let normalizes = try flag("do_normalize", default: true)
        var factor = 1.0 / 255
        if let value = value("rescale_factor") {
            guard let number = value.double, number.isFinite else {
                throw failure("rescale_factor", "expected a number")
            }
            factor = number
        }
        return ImageProcessor.tables(
            rescaledBy: rescales ? factor : nil, normalization: normalizes ? normalization : nil)
    }
}
