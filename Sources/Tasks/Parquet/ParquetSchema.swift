import Support

/// How the values of a column are stored.
enum ParquetType: Equatable {
    case boolean, int32, int64, float, double, byteArray
    case fixed(Int)

    /// The type with this number in the format; those that are not read are refused by name.
    init(_ number: Int, length: Int?, column: String) throws {
        switch number {
        case 0: self = .boolean
        case 1: self = .int32
        case 2: self = .int64
        case 3:
            throw ParquetFile.failure(
                "the column '\(column)' is of the type INT96, which is not supported",
                "write it again with timestamps of 64 bits")
        case 4: self = .float
        case 5: self = .double
        case 6: self = .byteArray
        case 7:
            // Values of no bytes would make a page of any number of them out of nothing.
            guard let length, length > 0 else { throw ThriftReader.damaged }
            self = .fixed(length)
        default: throw ParquetFile.failure("the column '\(column)' is of the unknown type number \(number)")
        }
    }
}

/// A column of values as it is stored.
struct ParquetLeaf {
    /// The names from the top, joined with full stops.
    let name: String
    let type: ParquetType
    /// True when integers have no sign.
    let isUnsigned: Bool
    /// The levels of a value that is there, in as many lists as can be.
    let definition: Int
    let repetition: Int
}

/// A part of a row: how columns are put together to a value.
struct ParquetNode {
    indirect enum Shape {
        /// The values of one column, by its number.
        case leaf(Int)
        case structure(names: [String], [ParquetNode])
        /// A column's entry of the definition level `definition` is in an element; `repetition` goes on with the same list.
        case list(ParquetNode, definition: Int, repetition: Int)
    }

    let name: String
    /// The definition level from which the part is there; nil when it always is.
    let presentAt: Int?
    let shape: Shape
    /// The numbers of its columns.
    let leaves: Range<Int>
    /// True for a list that is no more than a repeated field.
    let isRepeated: Bool
}

/// Makes the tree of a schema from the list of its elements, each before its children (github.com/apache/parquet-format,
/// «LogicalTypes» has the rules for lists, old and new).
struct ParquetSchema {
    private(set) var leaves: [ParquetLeaf] = []
    private(set) var nodes: [ParquetNode] = []
    private let elements: [ThriftStructure]
    private var position = 0

    private static let maximumDepth = 32

    /// Reads the elements of a footer.
    init(_ elements: [ThriftStructure]) throws {
        self.elements = elements
        let count = try next().count(5)
        for _ in 0..<count { nodes.append(try node(path: [], definition: 0, repetition: 0)) }
        guard position == elements.count, !nodes.isEmpty else { throw ThriftReader.damaged }
    }

    private mutating func next() throws -> ThriftStructure {
        guard position < elements.count else { throw ThriftReader.damaged }
        defer { position += 1 }
        return elements[position]
    }

    private mutating func node(path: [String], definition: Int, repetition: Int) throws -> ParquetNode {
        guard path.count < Self.maximumDepth else {
            throw ParquetFile.failure("its columns are nested too deep")
        }
        let element = try next()
        let name = try element.text(4)
        let path = path + [name]
        let first = leaves.count
        func made(_ presentAt: Int?, _ shape: ParquetNode.Shape, repeated: Bool = false) -> ParquetNode {
            ParquetNode(
                name: name, presentAt: presentAt, shape: shape, leaves: first..<leaves.count,
                isRepeated: repeated)
        }
        switch try element.integer(3) {
        case 0: return made(nil, try shape(element, path, definition, repetition))
        case 1: return made(definition + 1, try shape(element, path, definition + 1, repetition))
        case 2:
            let item = made(nil, try shape(element, path, definition + 1, repetition + 1))
            let whole = ParquetNode(
                name: name, presentAt: nil, shape: item.shape, leaves: first..<leaves.count, isRepeated: false
            )
            return made(
                nil, .list(whole, definition: definition + 1, repetition: repetition + 1), repeated: true)
        default: throw ThriftReader.damaged
        }
    }

    private mutating func shape(
        _ element: ThriftStructure, _ path: [String], _ definition: Int, _ repetition: Int
    ) throws -> ParquetNode.Shape {
        guard let count = try element.integer(5), count != 0 || element.fields[1] == nil else {
            let name = path.joined(separator: ".")
            let type = try ParquetType(
                try element.count(1), length: try element.integer(2), column: name)
            leaves.append(
                ParquetLeaf(
                    name: name, type: type, isUnsigned: try isUnsigned(element), definition: definition,
                    repetition: repetition))
            return .leaf(leaves.count - 1)
        }
        // Each child is an element of the list.
        guard count > 0, count <= elements.count - position else { throw ThriftReader.damaged }
        var children: [ParquetNode] = []
        for _ in 0..<count {
            children.append(try node(path: path, definition: definition, repetition: repetition))
        }
        if let list = try list(element, name: path.last ?? "", children) { return list }
        return .structure(names: children.map(\.name), children)
    }

    /// The list that a group stands for when it is marked as a list or a map.
    private func list(_ element: ThriftStructure, name: String, _ children: [ParquetNode]) throws
        -> ParquetNode.Shape?
    {
        let converted = try element.integer(6)
        let logical = try element.structure(10)
        let isList = converted == 3 || logical?.fields[3] != nil
        let isMap = converted == 1 || converted == 2 || logical?.fields[2] != nil
        guard isList || isMap, children.count == 1, children[0].isRepeated,
            case .list(let item, let definition, let repetition) = children[0].shape
        else { return nil }
        // A repeated group with one field is a level of its own, unless its name says that it is the element. Where the
        // repeated field is a value or a group of several fields, it is the element: the form of old writers.
        if isList, case .structure(_, let fields) = item.shape, fields.count == 1, !fields[0].isRepeated,
            item.name != "array", item.name != name + "_tuple"
        {
            return .list(fields[0], definition: definition, repetition: repetition)
        }
        return .list(item, definition: definition, repetition: repetition)
    }

    private func isUnsigned(_ element: ThriftStructure) throws -> Bool {
        if let converted = try element.integer(6), (11...14).contains(converted) { return true }
        return try element.structure(10)?.structure(10)?.integer(2) == 0
    }
}
