/// The four normalisation forms of Unicode (Standard Annex 15) with the origin of every scalar kept.
enum NormalizationForm: Sendable, Equatable {
    case nfd, nfkd, nfc, nfkc

    /// Puts `text` into this form.
    func apply(to text: inout NormalizedText) {
        if text.isPlain || isUnchanged(text) { return }
        var scalars = decomposed(text)
        if self == .nfc || self == .nfkc { scalars = Self.composed(scalars) }
        text.replay(scalars)
    }

    private var isCompatible: Bool { self == .nfkd || self == .nfkc }

    /// A quick test that finds most texts that need no work.
    private func isUnchanged(_ text: NormalizedText) -> Bool {
        switch self {
        case .nfd: !text.contains([.canonical, .reorders])
        case .nfkd: !text.contains([.canonical, .compatible, .reorders])
        // Nothing below U+0300 composes with what follows unless that is at or above U+0300 (lead byte 0xCC).
        case .nfc: !text.bytes.contains { $0 >= 0xCC }
        case .nfkc: false
        }
    }

    private func decomposed(_ text: NormalizedText) -> [MovedScalar] {
        var result: [MovedScalar] = []
        result.reserveCapacity(text.bytes.count)
        /// Where the scalars begin that may still change places.
        var pending = 0
        text.bytes.withUnsafeBufferPointer { bytes in
            var i = 0
            while i < bytes.count {
                decompose(decodeScalar(bytes, &i), into: &result, &pending)
            }
        }
        Self.sort(&result, from: pending)
        return result
    }

    private func decompose(_ scalar: UInt32, into result: inout [MovedScalar], _ pending: inout Int) {
        let classes = ScalarClasses.shared
        func push(_ part: UInt32, isFirst: Bool) {
            let combining = classes[part].contains(.reorders) ? CombiningClasses.value(of: part) : 0
            if combining == 0 {
                Self.sort(&result, from: pending)
                pending = result.count + 1
            }
            result.append(MovedScalar(scalar: part, consumed: isFirst ? 1 : 0, combiningClass: combining))
        }
        let kind = classes[scalar]
        if isCompatible, kind.contains(.compatible), let parts = Decompositions.compatible.parts(of: scalar) {
            for (index, part) in parts.enumerated() { push(part, isFirst: index == 0) }
        } else if kind.contains(.canonical), let parts = Hangul.parts(of: scalar) {
            push(parts.leading, isFirst: true)
            push(parts.vowel, isFirst: false)
            if parts.trailing != 0 { push(parts.trailing, isFirst: false) }
        } else if kind.contains(.canonical), let parts = Decompositions.canonical.parts(of: scalar) {
            for (index, part) in parts.enumerated() { push(part, isFirst: index == 0) }
        } else {
            push(scalar, isFirst: true)
        }
    }

    /// Puts the marks from `start` on in the order of their classes, those of one class as they stood.
    private static func sort(_ scalars: inout [MovedScalar], from start: Int) {
        guard scalars.count - start > 1 else { return }
        let sorted = scalars[start...].enumerated().sorted {
            ($0.element.combiningClass, $0.offset) < ($1.element.combiningClass, $1.offset)
        }
        scalars.replaceSubrange(start..., with: sorted.map(\.element))
    }

    private static func composed(_ scalars: [MovedScalar]) -> [MovedScalar] {
        let compositions = Compositions.shared
        var result: [MovedScalar] = []
        result.reserveCapacity(scalars.count)
        /// The scalar that later ones may be joined to, and the marks after it that were not.
        var starter: MovedScalar?
        var marks: [MovedScalar] = []
        for next in scalars {
            guard let current = starter else {
                if next.combiningClass == 0 { starter = next } else { result.append(next) }
                continue
            }
            let isBlocked = marks.last.map { $0.combiningClass >= next.combiningClass } ?? false
            if !isBlocked, let composite = compositions.composite(current.scalar, next.scalar) {
                starter = MovedScalar(
                    scalar: composite, consumed: current.consumed + next.consumed, combiningClass: 0)
            } else if next.combiningClass == 0 {
                result.append(current)
                result.append(contentsOf: marks)
                marks.removeAll(keepingCapacity: true)
                starter = next
            } else {
                marks.append(next)
            }
        }
        if let starter { result.append(starter) }
        return result + marks
    }
}

/// A scalar of the new text with the number of scalars of the old text that it takes the place of.
private struct MovedScalar {
    var scalar: UInt32
    var consumed: Int32
    var combiningClass: UInt8
}

extension NormalizedText {
    /// Builds the text anew from `scalars`. A scalar has the origin of the first old one that it takes the
    /// place of; one that takes no place has that of the old scalar before. Marks that changed places keep
    /// their count, so their origins are those of the marks that stood there, as in the reference.
    fileprivate mutating func replay(_ scalars: [MovedScalar]) {
        var builder = TextBuilder(capacity: bytes.count)
        bytes.withUnsafeBufferPointer { bytes in
            var i = 0
            var origin = Alignment(start: base, end: base)
            for moved in scalars {
                for index in 0..<moved.consumed where i < bytes.count {
                    let next = alignment(at: i)
                    _ = decodeScalar(bytes, &i)
                    if index == 0 { origin = next }
                    if index == moved.consumed - 1 {
                        builder.append(moved.scalar, origin)
                        origin = next
                    }
                }
                if moved.consumed == 0 { builder.append(moved.scalar, origin) }
            }
        }
        become(builder)
    }
}
