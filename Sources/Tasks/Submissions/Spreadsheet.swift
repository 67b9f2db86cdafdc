import Support

/// What a cell of a spreadsheet holds.
enum Cell: Equatable {
    case empty
    case integer(Int)
    case text(String)
}

/// Writes rows as an Excel file of one sheet (ECMA-376, part 1): the five parts that every reader needs, texts inside the
/// cells, stored in a ZIP file without compression (PKWARE APPNOTE 4.3).
func writeSpreadsheet(_ rows: [[Cell]], to path: String) throws {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    let package = "http://schemas.openxmlformats.org/package/2006"
    let type = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"
    let parts = [
        (
            "[Content_Types].xml",
            "<Types xmlns=\"\(package)/content-types\">"
                + "<Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>"
                + "<Override PartName=\"/xl/workbook.xml\" ContentType=\"\(type).sheet.main+xml\"/>"
                + "<Override PartName=\"/xl/worksheets/sheet1.xml\" ContentType=\"\(type).worksheet+xml\"/></Types>"
        ),
        (
            "_rels/.rels",
            "<Relationships xmlns=\"\(package)/relationships\"><Relationship Id=\"rId1\" "
                + "Type=\"\(relations)/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
        ),
        (
            "xl/workbook.xml",
            "<workbook xmlns=\"\(main)\" xmlns:r=\"\(relations)\"><sheets>"
                + "<sheet name=\"Sheet1\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
        ),
        (
            "xl/_rels/workbook.xml.rels",
            "<Relationships xmlns=\"\(package)/relationships\"><Relationship Id=\"rId1\" "
                + "Type=\"\(relations)/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
        ),
        (
            "xl/worksheets/sheet1.xml",
            "<worksheet xmlns=\"\(main)\"><sheetData>\(sheet(rows))</sheetData></worksheet>"
        ),
    ]
    var file = try AtomicFile(path)
    try storedZIP(parts.map { ($0.0, Array((head + $0.1).utf8)) }).withUnsafeBytes { try file.write($0) }
    try file.commit()
}

private func sheet(_ rows: [[Cell]]) -> String {
    var text = ""
    for (index, row) in rows.enumerated() {
        text += "<row r=\"\(index + 1)\">"
        for (column, cell) in row.enumerated() {
            let place = "\(columnName(column))\(index + 1)"
            switch cell {
            case .empty: break
            case .integer(let value): text += "<c r=\"\(place)\"><v>\(value)</v></c>"
            case .text(let value):
                text +=
                    "<c r=\"\(place)\" t=\"inlineStr\"><is><t xml:space=\"preserve\">\(escaped(value))</t></is></c>"
            }
        }
        text += "</row>"
    }
    return text
}

/// A for 0, Z for 25, AA for 26.
private func columnName(_ index: Int) -> String {
    let letter = String(UnicodeScalar(UInt8(65 + index % 26)))
    return index < 26 ? letter : columnName(index / 26 - 1) + letter
}

/// XML text; characters that XML cannot hold become spaces, and Excel's limit of a cell cuts the text.
private func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(32_767) {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\t", "\n", "\r": result += "&#\(scalar.value);"
        default:
            let isBarred = scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF
            result.unicodeScalars.append(isBarred ? " " : scalar)
        }
    }
    return result
}

/// A ZIP file whose members are stored as they are.
private func storedZIP(_ members: [(name: String, content: [UInt8])]) -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    func little(_ value: Int, _ bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(value >> (8 * $0) & 0xFF) } }
    for (name, content) in members {
        let start = file.count
        // Version 2.0, names in UTF-8, no compression, 1 January 1980.
        let head =
            little(20, 2) + little(0x0800, 2) + little(0, 2) + little(0, 2) + little(0x21, 2)
            + little(Int(crc32(content)), 4) + little(content.count, 4) + little(content.count, 4)
            + little(name.utf8.count, 2) + little(0, 2)
        file += little(0x0403_4B50, 4) + head + Array(name.utf8) + content
        directory +=
            little(0x0201_4B50, 4) + little(20, 2) + head + little(0, 2) + little(0, 2) + little(0, 2)
            + little(0, 4)
            + little(start, 4) + Array(name.utf8)
    }
    let end =
        little(0x0605_4B50, 4) + little(0, 4) + little(members.count, 2) + little(members.count, 2)
        + little(directory.count, 4) + little(file.count, 4) + little(0, 2)
    return file + directory + end
}
