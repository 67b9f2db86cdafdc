/// The token classes of English text in the manner of the Penn Treebank, as the tokeniser of Stanford CoreNLP 3.4.1
/// knows them: the one that the COCO caption evaluation (tylin/coco-caption) runs. The classes, their order and the lists of
/// abbreviations are facts of its grammar (`PTBLexer.flex`), written down anew here and held against what the program itself
/// makes of many texts (Tools/goldens/captions.py).
///
/// Rules whose only effect is a full stop more are left out: the caption evaluation drops full stops.
enum TreebankRules {
    /// What becomes of a match.
    enum Action: Sendable {
        /// A token as it stands, without soft hyphens.
        case word
        /// A token whose quotation marks become TeX's.
        case quotes(opening: Bool)
        /// A token, and the last `count` units are read again.
        case split(count: Int)
        /// A token whose spaces become no-break spaces, and whose parentheses become `-LRB-` and `-RRB-`.
        case joined
        /// This token.
        case fixed(String)
        /// A token with `&amp;` as `&`.
        case ampersand
        /// A sign of money or a fraction, by ``TreebankRules/names``.
        case named
        /// Nothing.
        case skip
    }

    struct Rule: Sendable {
        let action: Action
        let head: Pattern
        var tail: Pattern?

        init(_ action: Action, _ head: Pattern, before tail: Pattern? = nil) {
            self.action = action
            self.head = head
            self.tail = tail
        }
    }

    /// Signs that are written in words or other signs.
    static let names: [Unicode.Scalar: String] = [
        "\u{A2}": "cents", "\u{A3}": "#", "\u{80}": "$", "\u{A4}": "$", "\u{20A0}": "$", "\u{20AC}": "$",
        "\u{BC}": "1/4", "\u{BD}": "1/2", "\u{BE}": "3/4", "\u{2153}": "1/3",
        "\u{2154}": "2/3",
    ]

    // MARK: Characters

    private static let asciiLetter = UnitSet(0x41...0x5A, 0x61...0x7A)
    private static let capital = UnitSet(0x41...0x5A)
    private static let asciiDigit = UnitSet(0x30...0x39)
    private static let asciiWord = asciiLetter + asciiDigit
    private static let digits = UnitSet.digit + UnitSet(0x7C0...0x7C9)
    private static let letterOrDigit = UnitSet.letter + UnitSet.digit
    private static let softHyphen = UnitSet("\u{AD}")
    private static let blank = UnitSet(" \t\u{A0}\u{3000}") + UnitSet(0x2000...0x200A)
    private static let lineBreak = UnitSet("\r\n\u{2028}\u{2029}\u{B}\u{C}\u{85}")
    private static let space = blank + lineBreak

    private static func set(_ text: String) -> Pattern { .one(UnitSet(text)) }
    private static func not(_ text: String) -> Pattern { .one(UnitSet(text).inverted) }

    /// Letters, and marks that stand within words of many scripts.
    private static let letters =
        UnitSet.letter + softHyphen
        + UnitSet(
            0x237...0x24F, 0x2C2...0x2C5, 0x2D2...0x2DF, 0x2E5...0x2FF, 0x300...0x37D, 0x384...0x385,
            0x3CF...0x3CF, 0x3F6...0x3F6, 0x3FC...0x3FF, 0x483...0x487, 0x4CF...0x4CF, 0x4F6...0x4FF,
            0x510...0x525, 0x55A...0x55F, 0x591...0x5BD, 0x5BF...0x5BF, 0x5C1...0x5C2, 0x5C4...0x5C5,
            0x5C7...0x5C7, 0x615...0x61A, 0x63B...0x63F, 0x64B...0x65E, 0x670...0x670, 0x6D6...0x6EF,
            0x6FA...0x6FF, 0x70F...0x70F, 0x711...0x711, 0x730...0x77F, 0x7A6...0x7B1, 0x7CA...0x7F5,
            0x7FA...0x7FA)
        + UnitSet(
            0x900...0x903, 0x93C...0x93C, 0x93E...0x94E, 0x951...0x955, 0x962...0x963, 0x981...0x983,
            0x9BC...0x9C4, 0x9C7...0x9C8, 0x9CB...0x9CD, 0x9D7...0x9D7, 0x9E2...0x9E3, 0xA01...0xA03,
            0xA3C...0xA3C, 0xA3E...0xA4F, 0xA81...0xA83, 0xABC...0xACF, 0xB82...0xB82, 0xBBE...0xBC2,
            0xBC6...0xBC8, 0xBCA...0xBCD, 0xC01...0xC03, 0xC3E...0xC56, 0xD3E...0xD44, 0xD46...0xD48,
            0xE30...0xE3A, 0xE47...0xE4E, 0xEB1...0xEBC, 0xEC8...0xECD)
    private static let letter = Pattern.either([
        .one(letters), .all([set("&"), set("aeiouAEIOU"), .words("acute grave uml"), set(";")]),
    ])
    private static let apostrophe = Pattern.either([set("'\u{92}\u{2019}"), .word("&apos;")])
    /// Also marks that stand for an apostrophe within a word, rightly or wrongly.
    private static let anyApostrophe = Pattern.either([
        apostrophe, set("\u{91}\u{2018}\u{201B}`"),
    ])
    private static let hyphen = set("-_\u{58A}\u{2010}\u{2011}")
    private static let clauseMark = set(",;:\u{3001}")

    // MARK: Parts

    private static let ampersand = Pattern.either([set("&"), .word("&amp;")])
    private static let digit = Pattern.one(digits)
    private static let plainNumber = Pattern.either([
        .some(digit),
        .all([.any(digit), .some(.all([set(".:,\u{AD}\u{66B}\u{66C}"), .some(digit)]))]),
    ])
    private static let number = Pattern.all([.maybe(set("-+")), plainNumber])
    private static let syllables = Pattern.all([letter, .any(.either([letter, digit]))])
    private static let word = Pattern.all([syllables, .any(.all([set(".!?"), syllables]))])
    private static let ending = Pattern.all([
        apostrophe, .either([set("msdMSD"), .words("re ve ll")]),
    ])
    private static let negation = Pattern.all([.word("n"), anyApostrophe, .word("t")])
    private static let negatedVerb = Pattern.all([
        .any(.one(asciiLetter + softHyphen)),
        .one(UnitSet(0x41...0x4D, 0x4F...0x5A, 0x61...0x6D, 0x6F...0x7A)),
        .any(.one(softHyphen)),
    ])
    private static let acronym = Pattern.either([
        .all([.one(asciiLetter), .some(.all([set("."), .one(asciiLetter)]))]),
        .all([.words("canada sino korean eu japan non"), .word("-u.s")]),
        .all([.word("u.s.-"), .words("u.k u.s.s.r")]),
    ])
    private static let anyWord = Pattern.some(.one(letterOrDigit))
    private static let elision = Pattern.maybe(
        .all([set("dDoOlL"), anyApostrophe, .one(letterOrDigit)]))
    /// Words that hyphens join; `d'Avignon` and `o'clock`.
    private static let compound = Pattern.all([
        elision, anyWord, .any(.all([hyphen, elision, anyWord])),
    ])
    private static let hyphenated = Pattern.all([
        .one(asciiWord), .any(.one(asciiWord + UnitSet(".,\u{AD}"))),
        .some(.all([set("-"), .either([.some(.one(asciiWord + softHyphen)), .all([acronym, set(".")])])])),
    ])
    private static let slashed: Pattern = {
        let part = Pattern.all([
            .some(.one(asciiWord)), .times(0, 2, .all([set("-"), .some(.one(asciiLetter))])),
        ])
        return .all([part, .times(1, 2, .all([.maybe(set("\\")), set("/"), part]))])
    }()
    private static let initials = Pattern.all([
        .some(.one(capital)),
        .some(.all([.either([set("+"), ampersand]), .some(.one(capital))])),
    ])

    // MARK: Abbreviations

    /// Keep their full stop whatever two characters follow.
    private static let abbreviations = Pattern.either([
        .words("jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri"),
        .words(
            "ala ariz ^Az ^Ark calif colo conn ct dak ^Del fla ga ^Ill ind kan kans ky ^La ^Mass md mich minn"
        ),
        .words("^Miss mo mont neb nev okla ^Ore ^Pa penn tenn ^Tex va vt ^Wash wis wisc wyo"),
        .words(
            "inc co cos corp pty pte ptys ptes ppty ppte pptys pptes ltd plc rt bancorp bhd assn univ intl sys"
        ),
        .words("tel est ext sq jr sr bros ed.d ph.d blvd rd esq etc al seq bldg"),
    ])
    /// Keep it when nothing else makes a longer token.
    private static let titles = Pattern.either([
        .words(
            "mr mrs ms ^Miss dr drs prof profs sen sens rep reps atty attys lt col gen messrs gov govs adm rev"
        ),
        .words(
            "maj sgt cpl pvt mt ft capt st ste ave pres lieut hon brig cmdr comdr pfc spc supt supts det dept"
        ),
        .words("invt elec natl mfg mtg vs alex wm jos cie a.k.a cf treas ph"),
        .words("adj adv asst assoc ens insp mlle mme msgr sfc"),
        .one(asciiLetter), acronym,
    ])
    /// Keep it before a number.
    private static let numbered = Pattern.words("ca fig figs prop no nos art bldg pp op")
    /// Words that begin a sentence, so that the letter before them is no initial. In this case of letters only.
    private static let sentenceStarts = """
        about according additionally after an a as at but earlier he her here however if in it last many more mr. ms. \
        now once one other our she since so some such that the their then there these they this we when while what yet \
        you
        """

    // MARK: Addresses

    private static let fileName = Pattern.all([
        anyWord, .any(.all([set("."), anyWord])), set("."),
        .words(
            """
            bat bmp c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py \
            sql tar txt wav x xml zip
            """),
    ])

    private static let addressEnd = Pattern.all([
        set("/"), .some(not(" \t\n\u{C}\r\"<>|()")), not(" \t\n\u{C}\r\"<>|.!?(){},-"),
    ])
    private static let address = Pattern.either([
        .all([
            .words("http:// https://"), .some(not(" \t\n\u{C}\r\"<>|(){}")),
            not(" \t\n\u{C}\r\"<>|.!?(){},-"),
        ]),
        .all([
            .either([
                .all([
                    .word("www."), .some(.all([.some(not(" \t\n\u{C}\r\"<>|.!?(){},")), set(".")])),
                    .times(2, 4, .one(asciiLetter)),
                ]),
                .all([
                    .some(
                        .all([
                            .some(
                                .one((UnitSet(" \t\n\u{C}\r\"`'<>|.!?(){}$") + UnitSet(0x2C...0x5F)).inverted)
                            ),
                            set("."),
                        ])), .words("com net org edu"),
                ]),
            ]), .maybe(addressEnd),
        ]),
    ])
    private static let mail = Pattern.all([
        .maybe(.words("&lt; <")), .one(asciiWord), .any(not(" \t\n\u{C}\r\"<>|(){}\u{A0}")), set("@"),
        .any(.all([.some(not(" \t\n\u{C}\r\"<>|(){}.\u{A0}")), set(".")])),
        .some(not(" \t\n\u{C}\r\"<>|(){}.\u{A0}")), .maybe(.words("&gt; >")),
    ])
    private static let markup: Pattern = {
        let name = Pattern.all([.one(asciiLetter), .any(.one(asciiWord + UnitSet("_:.-")))])
        let spaces = Pattern.any(set(" "))
        let value = Pattern.either([
            .all([set("'"), .any(not("'\r\n")), set("'")]),
            .all([set("\""), .any(not("\"\r\n")), set("\"")]),
        ])
        let attribute = Pattern.all([name, .maybe(.all([spaces, set("="), spaces, value]))])
        return .all([
            set("<"),
            .either([
                .all([set("!?"), .one(asciiLetter + UnitSet("-")), .any(not(">\r\n"))]),
                .all([name, .any(.all([.some(set(" ")), attribute])), spaces, .maybe(set("/"))]),
                .all([set("/"), name]),
            ]), spaces, set(">"),
        ])
    }()
    private static let telephone: Pattern = {
        func digits(_ least: Int, _ most: Int) -> Pattern { .times(least, most, .one(asciiDigit)) }
        let gap = set("- \u{A0}")
        let plus = Pattern.maybe(.words("+ ++"))
        return .either([
            .all([
                .either([
                    .all([set("("), digits(2, 3), set(")"), .maybe(set(" \u{A0}"))]),
                    .all([plus, .maybe(.all([digits(2, 4), gap])), digits(2, 4), gap]),
                ]), digits(3, 4), .maybe(gap), digits(3, 5),
            ]),
            .all([
                .maybe(.all([plus, digits(2, 4), set(".")])), digits(2, 4), set("."), digits(3, 4), set("."),
                digits(3, 5),
            ]),
        ])
    }()

    // MARK: Signs

    private static let quoteMark = Pattern.either([
        .word("''"),
        .times(
            1, 2,
            .one(
                UnitSet("`\u{91}\u{92}\u{93}\u{94}\u{2039}\u{203A}\u{AB}\u{BB}") + UnitSet(0x2018...0x201F))
        ), apostrophe,
    ])
    private static let smiley = Pattern.all([
        .maybe(set("<>")), set(":;="), .maybe(set("-o*'")), set("()DPdpO\\{@|[]"),
    ])
    private static let asianSmiley: Pattern = {
        let eye = set("-^x=~<>'")
        return .either([
            .all([eye, set("_"), eye]),
            .all([set("("), eye, .maybe(set("_.")), eye, set(")")]),
            .all([set("("), set("^x=~<>'"), set("-"), set("^x=~<>'`"), set(")")]),
        ])
    }()
    private static let symbol = Pattern.one(
        UnitSet(
            "+%&~^|\\¦\u{A7}¨\u{A9}\u{AC}\u{AE}¯\u{D7}\u{F7}\u{387}\u{5BE}\u{5C0}\u{5C3}\u{5C6}\u{5F3}\u{5F4}"
        )
            + UnitSet(
                "\u{60C}\u{614}\u{61B}\u{61E}\u{66A}\u{66D}\u{7F6}\u{7F7}\u{7F8}\u{964}\u{965}\u{E4F}\u{1FBD}"
            )
            + UnitSet("\u{2016}\u{2017}\u{203B}\u{2044}\u{3012}\u{30FB}")
            + UnitSet(
                0xB0...0xBA, 0x600...0x603, 0x606...0x60A, 0x703...0x70D, 0x2020...0x2023, 0x2030...0x2038,
                0x203E...0x2042, 0x207A...0x207F, 0x208A...0x208E, 0x2100...0x214F, 0x2190...0x2BFF,
                0xFF01...0xFF0F, 0xFF1A...0xFF20, 0xFF3B...0xFF40, 0xFF5B...0xFF65))

    // MARK: The rules; of equally long matches the first counts

    static let all: [Rule] = words + numbers + marks + rest

    private static let words: [Rule] = [
        Rule(.word, .words("c++ c# f#")),
        Rule(.split(count: 3), .words("cannot 'twas")),
        Rule(.split(count: 2), .words("'tis gonna gotta lemme gimme wanna")),
        Rule(.joined, markup),
        Rule(
            .fixed("--"),
            .either([.words("&MD; &mdash; &ndash;"), set("\u{96}\u{97}\u{2013}\u{2014}\u{2015}")])),
        Rule(.fixed("&"), .word("&amp;")),
        Rule(
            .word,
            .either([
                .words("&HT; &TL; &UR; &LR; &QC; &QL; &QR; &odq; &cdq;"),
                .all([.word("&#"), .some(.one(asciiDigit)), set(";")]),
            ])),
        Rule(.word, word, before: ending),
        Rule(.word, negatedVerb, before: negation),
        Rule(.word, word),
        Rule(
            .word,
            .either([
                .all([apostrophe, .word("n"), .maybe(apostrophe)]), .all([set("lLdDjJ"), apostrophe]),
                .all([.words("dunkin somethin ol"), apostrophe]),
                .all([apostrophe, .words("em till til cause")]),
                .all([
                    .one(UnitSet(0x41...0x48, 0x4A...0x58) + UnitSet("Zn")), anyApostrophe, .one(.letter),
                    .some(.one(.letter)),
                ]),
                .all([apostrophe, .one(UnitSet(0x32...0x39)), .word("0s")]),
                .all([
                    .some(.one(.letter)), set("aeiouyAEIOUY"), anyApostrophe,
                    .one(UnitSet("aeiou") + capital), .any(.one(.letter)),
                ]),
                .all([.word("o"), anyApostrophe, .word("o")]),
                .words("cont'd cont'd. nor'easter c'mon e'er s'mores ev'ry li'l nat'l"),
            ])),
        Rule(.word, .all([.word("y"), apostrophe]), before: .one(.letter)),
        Rule(.word, address),
        Rule(.word, mail),
        Rule(
            .word,
            .either([
                .all([set("@"), .one(asciiLetter + UnitSet("_")), .any(.one(asciiWord + UnitSet("_")))]),
                .all([set("#"), .some(letter)]),
            ])),
        Rule(.quotes(opening: false), ending, before: .one(asciiLetter.inverted)),
        Rule(.quotes(opening: false), negation, before: .one(asciiLetter.inverted)),
    ]

    private static let numbers: [Rule] = [
        Rule(
            .word,
            .all([.times(1, 2, digit), set("-/"), .times(1, 2, digit), set("-/"), .times(2, 4, digit)])),
        Rule(.word, number),
        Rule(
            .word,
            .all([
                .maybe(.one(UnitSet("\u{207A}\u{207B}\u{208A}\u{208B}"))),
                .either([
                    .some(.one(UnitSet("\u{2070}\u{B9}\u{B2}\u{B3}") + UnitSet(0x2074...0x2079))),
                    .some(.one(UnitSet(0x2080...0x2089))),
                ]),
            ])),
        Rule(
            .joined,
            .all([
                .maybe(.all([.times(1, 4, digit), set("- \u{A0}")])), .times(1, 4, digit),
                .either([.all([.maybe(set("\\")), set("/")]), set("\u{2044}")]), .times(1, 4, digit),
            ])),
        Rule(.named, .one(UnitSet(0xBC...0xBE, 0x2153...0x215E))),
        Rule(
            .ampersand,
            .either([
                .words("-RRB- -LRB- -RCB- -LCB- -RSB- -LSB- c.d.s pro- anti-"),
                .all([.word("s"), ampersand, .words("p-500 ls")]),
                .all([.word("cap"), apostrophe, .word("n")]), .all([.word("c"), apostrophe, .word("est")]),
            ])),
        Rule(.word, slashed),
        Rule(.word, .either([.all([.any(.one(capital)), set("$")]), set("#")])),
        Rule(
            .named,
            set(
                "\u{A2}\u{A3}\u{A4}\u{A5}\u{80}\u{20A0}\u{20AC}\u{60B}\u{E3F}\u{20A4}\u{FFE0}\u{FFE1}\u{FFE5}\u{FFE6}"
            )
        ),
        Rule(
            .split(count: 1), .all([.one(asciiLetter), set(".")]),
            before: .all([
                .some(.one(blank)),
                .either(
                    sentenceStarts.split(separator: " ").map { word in
                        .all([set(word.prefix(1).uppercased()), .word(String(word.dropFirst()))])
                    } + [markup]), .one(space),
            ])),
        Rule(.word, .all([numbered, set(".")]), before: .all([.maybe(.one(space)), .one(.digit)])),
        Rule(.word, .all([abbreviations, set(".")]), before: .times(2, 2, not(""))),
        Rule(.word, .all([.either([abbreviations, titles]), set(".")])),
        Rule(
            .word, .all([apostrophe, .times(2, 2, .one(asciiDigit))]),
            before: .one(space)),
        Rule(.word, fileName, before: .either([.one(space), set(".?!,")])),
        Rule(.word, .all([word, set(".")]), before: clauseMark),
        Rule(.joined, telephone),
    ]

    private static let marks: [Rule] = [
        Rule(
            .quotes(opening: true), .words("\" &quot;"), before: .one(asciiWord + UnitSet("$"))),
        Rule(.quotes(opening: false), .words("\" &quot;")),
        Rule(.skip, set("\u{7F}")),
        Rule(.fixed("<"), .words("< &lt;")),
        Rule(.fixed(">"), .words("> &gt;")),
        Rule(.joined, smiley, before: .one(asciiWord.inverted)),
        Rule(.joined, asianSmiley),
        Rule(.fixed("-LCB-"), set("{")),
        Rule(.fixed("-RCB-"), set("}")),
        Rule(.fixed("-LSB-"), set("[")),
        Rule(.fixed("-RSB-"), set("]")),
        Rule(.fixed("-LRB-"), set("(")),
        Rule(.fixed("-RRB-"), set(")")),
        Rule(.fixed("--"), .times(3, 4, set("-"))),
        Rule(.word, .some(set("-"))),
        Rule(
            .fixed("..."),
            .either([
                .times(3, 5, set(".")), .all([.times(2, 4, .all([set("."), set(" \u{A0}")])), set(".")]),
                set("\u{85}\u{2026}"),
            ])),
        Rule(.word, .either([.some(set("@")), .some(set("#")), .some(set("_"))])),
        Rule(.word, .either([.some(set("*")), .times(1, 3, .word("\\*"))])),
        Rule(.word, clauseMark),
        Rule(.word, .some(set("?!"))),
        Rule(
            .word,
            .one(UnitSet(".¡¿\u{37E}\u{589}\u{61F}\u{6D4}\u{7FA}\u{3002}") + UnitSet(0x700...0x702))),
        Rule(.word, set("=/")),
    ]

    private static let rest: [Rule] = [
        Rule(.word, .all([hyphenated, set(".")]), before: clauseMark),
        Rule(.word, hyphenated),
        Rule(.word, .all([compound, set(".")]), before: clauseMark),
        Rule(.word, compound),
        Rule(.ampersand, .all([initials, set(".")]), before: clauseMark),
        Rule(.ampersand, initials),
        Rule(.quotes(opening: true), set("'"), before: .all([.one(asciiLetter), not(" \t\n\r\u{A0}")])),
        Rule(.quotes(opening: false), ending),
        Rule(.quotes(opening: false), quoteMark),
        Rule(.word, .words("<< >>")),
        Rule(.word, symbol),
        Rule(
            .skip,
            .either([.some(.one(space + UnitSet("\0\u{200B}\u{200E}\u{200F}\u{FEFF}"))), .word("&nbsp;")])),
    ]
}
