import Support

/// A prompt cut at its image marks. What a mark becomes (so many tokens, or rows of an image encoder) is the business of
/// the model family.
public struct ImageMarks: Sendable, Equatable {
    /// What stands for an image in a prompt.
    public static let mark = "<image>"

    /// The texts around the marks, one more than there are marks; some may be empty.
    public let texts: [String]

    /// The number of marks.
    public var count: Int { texts.count - 1 }

    /// Cuts a prompt.
    public init(_ prompt: String) {
        texts = Text(prompt).split(at: Text(Self.mark)).map(\.string)
    }

    /// Cuts a prompt that must have one mark for every image.
    ///
    /// - Parameter images: the number of images given.
    /// - Throws: `VQAError` when there are more or fewer marks.
    public init(_ prompt: String, images: Int) throws {
        self.init(prompt)
        guard count == images else {
            let marks = count == 1 ? "1 mark \(Self.mark)" : "\(count) marks \(Self.mark)"
            throw VQAError(
                "cannot use the prompt",
                because: "it has \(marks), and \(images == 1 ? "1 image is" : "\(images) images are") given",
                remedy: "write \(Self.mark) once for every image")
        }
    }

    /// A text with its marks removed and one mark put on a line of its own in front: LLaVA's order of an image and its
    /// question.
    public static func leading(_ text: String) -> String {
        let rest = Text(text).split(at: Text(mark)).flatMap(\.self).stripped(\.isTemplateSpace)
        return (Text(mark + "\n") + rest).stripped(\.isTemplateSpace).string
    }
}
