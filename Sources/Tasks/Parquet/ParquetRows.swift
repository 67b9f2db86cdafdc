import Support

extension ParquetFile {
    /// The rows, with the named columns alone, in the order of the names; nil reads all of them. A column that is not there is an
    /// error.
    package func rows(_ columns: [String]? = nil) throws -> ParquetRows {
        let chosen = try columns?.map { name in
            guard let node = nodes.first(where: { $0.name == name }) else {
                let near = nearestMatch(to: name, in: names)
                throw VQAError(
                    "cannot read the Parquet file", at: path, because: "it has no column '\(name)'",
                    remedy: near.map { "it has '\($0)'" })
            }
            return node
        }
        return ParquetRows(self, chosen ?? nodes)
    }
}

/// Goes through the rows of a file once. Levels say how columns are put together: the definition level how much of a nested
/// value is there, the repetition level which list goes on (Melnik et al., «Dremel», 2010, section 4).
package final class ParquetRows {
    private let file: ParquetFile
    private let nodes: [ParquetNode]
    private let names: [String]
    private let allowance: ParquetAllowance
    private var columns: [ParquetColumn?] = []
    private var group = 0
    private var left = 0
    /// The number of rows that were read.
    package private(set) var row = 0

    fileprivate init(_ file: ParquetFile, _ nodes: [ParquetNode]) {
        self.file = file
        self.nodes = nodes
        names = nodes.map(\.name)
        allowance = ParquetAllowance(fileSize: file.file.count)
    }

    /// The next row, nil behind the last one. After an error there is no going on.
    package func next() throws -> ParquetRecord? {
        do {
            while left == 0 {
                guard group < file.groups.count else { return nil }
                startGroup()
            }
            row += 1
            left -= 1
            let values = try nodes.map { try value($0) }
            try endRow()
            return ParquetRecord(names: names, values: values)
        } catch let error as VQAError {
            let column = error.place.map { ", column '\($0)'" } ?? ""
            throw ParquetFile.placed(error, "\(file.path), row \(max(1, row))\(column)")
        }
    }

    private func startGroup() {
        let entry = file.groups[group]
        columns = Array(repeating: nil, count: file.leaves.count)
        for leaf in nodes.flatMap(\.leaves) {
            columns[leaf] = ParquetColumn(
                file.leaves[leaf], entry.chunks[leaf], of: file.file, allowance: allowance)
        }
        left = entry.rows
        group += 1
    }

    /// Does something with a column; errors get its name.
    private func with<Result>(_ leaf: Int, _ body: (ParquetColumn) throws -> Result) throws -> Result {
        guard let column = columns[leaf] else { throw ThriftReader.damaged }
        do {
            return try body(column)
        } catch let error as VQAError {
            throw ParquetFile.placed(error, column.leaf.name)
        }
    }

    /// Every list must have ended with the row, and every column with the row group. A column without lists is not asked before
    /// the end: that would fetch its next page while the row still holds this one.
    private func endRow() throws {
        for leaf in nodes.flatMap(\.leaves) {
            try with(leaf) { column in
                guard left == 0 || column.leaf.repetition > 0 else { return }
                let next = try column.peek()
                guard left > 0 ? next?.repetition == 0 : next == nil else {
                    throw ParquetFile.failure("the column's entries do not fit the rows of its row group")
                }
            }
        }
    }

    private func value(_ node: ParquetNode) throws -> ParquetValue {
        try allowance.spend(ParquetAllowance.value)
        if let level = node.presentAt, try skip(node, below: level) { return .null }
        switch node.shape {
        case .leaf(let leaf): return try with(leaf) { try $0.take() }
        case .structure(let names, let parts):
            return .structure(ParquetRecord(names: names, values: try parts.map { try value($0) }))
        case .list(let element, let definition, let repetition):
            if try skip(node, below: definition) { return .list([]) }
            var values: [ParquetValue] = []
            repeat { values.append(try value(element)) } while try goesOn(node, repetition)
            return .list(values)
        }
    }

    /// Steps over the entry of every column when the definition level is below `level`: the part is null, or the list empty.
    private func skip(_ node: ParquetNode, below level: Int) throws -> Bool {
        let definition = try with(node.leaves.lowerBound) { try $0.definition() }
        guard definition < level else { return false }
        for leaf in node.leaves { try with(leaf) { try $0.skip(definition: definition) } }
        return true
    }

    /// True when the next entries go on with the list of this repetition level.
    private func goesOn(_ node: ParquetNode, _ level: Int) throws -> Bool {
        let next = try node.leaves.map { leaf in try with(leaf) { try $0.peek()?.repetition ?? 0 } }
        guard let first = next.first, first <= level, next.allSatisfy({ $0 == first }) else {
            throw ParquetFile.failure("the columns of a list do not agree on where it ends")
        }
        return first == level
    }
}
