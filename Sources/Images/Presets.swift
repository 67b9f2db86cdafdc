import Support

extension ImageProcessor {
    /// The processing of DVP (specification section 4.7): shorter side to 224 (bicubic), crop of 224×224 from
    /// the middle with offsets rounded to even, division by 255, CLIP's mean and deviation in single
    /// precision.
    ///
    /// The release converts to RGB after resizing. For grey and RGB files that is the same; for palettes and
    /// alpha this converts first.
    public static let dvpClip = dvpClip(size: 224)

    /// ``dvpClip`` at another size.
    public static func dvpClip(size: Int) -> ImageProcessor { shortestEdgeCrop("DVP CLIP", size: size) }

    /// torchvision's bicubic resize of the shorter side and crop of the middle, with CLIP's statistics.
    private static func shortestEdgeCrop(_ name: String, size: Int) -> ImageProcessor {
        var processor = ImageProcessor(
            name: name, transparency: .dropped, resizing: .shortestEdge(size), filter: .bicubic,
            crop: Crop(height: size, width: size, roundsToEven: true),
            tables: tables { Normalization.clip.apply(Float($0) / 255, channel: $1) })
        processor.meanColor = Normalization.clip.meanColor
        return processor
    }

    /// The processing of DVP's ScienceQA program (specification section 4.7): bicubic resize to a square,
    /// division by 255, ImageNet's mean and deviation although the tower is CLIP.
    public static func dvpScienceQA(size: Int = 224) -> ImageProcessor {
        square("DVP ScienceQA", size: size, .imageNet)
    }

    /// The evaluation transform of LAVIS (`blip_image_eval`: BLIP-2, InstructBLIP): bicubic resize to a
    /// square, division by 255, CLIP's mean and deviation in single precision. Its training transform
    /// (`blip2_image_train`) is this after a ``RandomView``.
    ///
    /// - Parameter crops: resizes the shorter side and crops the middle instead, as LAVIS does for its
    ///   A-OKVQA instruction data, and as the question-prompt method does.
    public static func lavis(size: Int = 224, crops: Bool = false) -> ImageProcessor {
        guard crops else { return square("LAVIS", size: size, .clip) }
        return shortestEdgeCrop("LAVIS crop", size: size)
    }

    /// The processing of LLaVA's own release (and of SQ-LLaVA and MAPD): CLIP's, of an image whose alpha is
    /// left out. ``paddingToSquare()`` of it is `image_aspect_ratio: pad`.
    public static func llava(size: Int = 336) -> ImageProcessor {
        var processor = ImageProcessor(
            name: "LLaVA", transparency: .dropped, resizing: .shortestEdge(size), filter: .bicubic,
            crop: Crop(height: size, width: size),
            tables: tables(rescaledBy: 1.0 / 255, normalization: .clip))
        processor.meanColor = Normalization.clip.meanColor
        return processor
    }

    /// A bicubic resize to a square, and values in single precision as torchvision computes them.
    private static func square(_ name: String, size: Int, _ normalization: Normalization) -> ImageProcessor {
        var processor = ImageProcessor(
            name: name, transparency: .dropped, resizing: .exact(height: size, width: size), filter: .bicubic,
            crop: nil, tables: tables { normalization.apply(Float($0) / 255, channel: $1) })
        processor.meanColor = normalization.meanColor
        return processor
    }

    /// The processing of EfficientNet-Lite: bicubic resize to a square, then (value − 127) / 128.
    public static func efficientNetLite(size: Int) -> ImageProcessor {
        var processor = ImageProcessor(
            name: "EfficientNet-Lite", transparency: .dropped, resizing: .exact(height: size, width: size),
            filter: .bicubic, crop: nil, tables: tables { value, _ in (Float(value) - 127) / 128 })
        processor.meanColor = Image.Color(red: 127, green: 127, blue: 127)
        return processor
    }

    init(
        name: String, transparency: Transparency, resizing: Resizing, filter: ResizeFilter, crop: Crop?,
        tables: [Float]
    ) {
        self.name = name
        self.transparency = transparency
        self.resizing = resizing
        self.filter = filter
        self.crop = crop
        self.tables = tables
    }

    /// Values as transformers computes them: it multiplies in double precision, rounds to single, then
    /// subtracts and divides in single. What is nil is not done.
    static func tables(rescaledBy factor: Double?, normalization: Normalization?) -> [Float] {
        tables { byte, channel in
            let value = factor.map { Float(Double(byte) * $0) } ?? Float(byte)
            return normalization?.apply(value, channel: channel) ?? value
        }
    }

    /// The value of each byte in each channel.
    static func tables(_ value: (_ byte: Int, _ channel: Int) -> Float) -> [Float] {
        (0..<3).flatMap { channel in (0..<256).map { value($0, channel) } }
    }
}

/// A mean and a deviation for each channel.
struct Normalization: Sendable, Equatable {
    var mean: [Double]
    var deviation: [Double]

    /// OpenAI CLIP's statistics.
    static let clip = Normalization(
        mean: [0.48145466, 0.4578275, 0.40821073], deviation: [0.26862954, 0.26130258, 0.27577711])
    /// ImageNet's statistics.
    static let imageNet = Normalization(mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225])
    /// One half everywhere: values from -1 to 1.
    static let half = Normalization(mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5])

    /// (value − mean) / deviation in single precision, as numpy and torch compute it.
    func apply(_ value: Float, channel: Int) -> Float {
        (value - Float(mean[channel])) / Float(deviation[channel])
    }

    /// The mean as a colour, truncated to integers as LLaVA does, and clipped to a byte.
    var meanColor: Image.Color {
        func byte(_ value: Double) -> UInt8 { UInt8(max(0, min(255, value * 255))) }
        return Image.Color(red: byte(mean[0]), green: byte(mean[1]), blue: byte(mean[2]))
    }
}
