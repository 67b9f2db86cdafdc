extension OKVQAStemmer {
    /// The verb of a form in `-ing` as WordNet has it: the exceptions below, else by spelling. Nil when the word is no form
    /// of a verb.
    static func verb(ofForm word: String) -> String? {
        if let found = exceptions[word] { return found }
        let stem = Array(word.dropLast(3))
        guard stem.count >= 2, stem.contains(where: { "aeiouy".contains($0) }) else { return nil }
        let (last, before) = (stem[stem.count - 1], stem[stem.count - 2])
        if last == before, !"aeioulszf".contains(last) { return String(stem.dropLast()) }
        return String(stem) + (losesE(stem, last, before) ? "e" : "")
    }

    /// True when the spelling says that the verb ends in a silent e: `riding`, `dancing`, `argu-ing`.
    private static func losesE(_ stem: [Character], _ last: Character, _ before: Character) -> Bool {
        func isVowel(_ letter: Character) -> Bool { "aeiou".contains(letter) }
        if last == "t", before == "a", stem.count > 2, "iu".contains(stem[stem.count - 3]) { return true }
        switch last {
        case "v", "z", "u": return true
        case "c": return before != "i"
        case "g": return isVowel(before) || before == "d" || before == "r"
        case "s": return isVowel(before) || before == "n" || before == "r"
        case "l": return !isVowel(before) && !"lrwy".contains(before)
        default: break
        }
        guard isVowel(before), stem.count < 3 || !isVowel(stem[stem.count - 3]) else { return false }
        switch last {
        case "t": return before == "a" || before == "u"
        case "r": return "aiu".contains(before)
        case "k": return true
        case "d": return "aiu".contains(before)
        case "m": return before != "e"
        case "n": return before == "u" || (before == "i" && stem.count <= 5)
        case "p": return stem.count <= 4
        default: return false
        }
    }

    /// Forms that the spelling gets wrong, among the verbs, nouns and adjectives that WordNet 3.0 has seen in use.
    private static let exceptions: [String: String] = {
        var table: [String: String] = [:]
        func add(_ list: String, _ stem: (Substring) -> String) {
            for form in list.split(whereSeparator: \.isWhitespace) { table[String(form)] = stem(form) }
        }
        add(unchangedForms) { String($0) }
        add(formsWithE) { $0.dropLast(3) + "e" }
        add(plainForms) { String($0.dropLast(3)) }
        add(doubledForms) { String($0.dropLast(4)) }
        for pair in otherForms.split(whereSeparator: \.isWhitespace) {
            let parts = pair.split(separator: ">")
            if parts.count == 2 { table[String(parts[0])] = String(parts[1]) }
        }
        return table
    }()

    private static let unchangedForms = """
        batwing birdying bloodsucking bluestocking bodybuilding bowstring bricklaying ceiling
        churchgoing cooccurring darling doweling earsplitting earthshaking enterprising everlasting
        fledgling handshaking hardworking incoming inkling inning kipling laborsaving lightning
        longstanding merrymaking microphoning moneymaking morning nonchurchgoing nothing offspring
        oncoming outlying outstanding pending prizewinning retying sapling scathing seedling
        shipbuilding shoestring sterling taxpaying thanksgiving thoroughgoing unavailing uncompromising
        unconvincing underling unending unerring unfaltering unheeding unimposing unpromising
        unreasoning unregretting unseeing unsmiling unthinking unvarying unwavering unwilling unwitting
        upcoming warmongering wonderworking woodgraining wrongdoing wyoming
        """

    private static let formsWithE = """
        acceding aching acquiring adhering adoring analysing apprenticing arranging ascribing atoning
        avenging awing basting beguiling birdiing biting blaspheming boding boring breathing bribing
        bulging chafing challenging chandelling changing circumscribing citing clothing cohering
        collapsing combining competing compiling completing conceding condoning confining connoting
        consoling convening convulsing coring corroding counterchallenging craning creating cringing
        declining demoting denoting deploring describing destining determining devoting disciplining
        disrobing dissuading divulging drowsing dynamiting eclipsing elapsing enquiring enshrining
        enthroning enticing eroding escaping estranging examining exchanging exciting exhaling exiling
        expediting exploding exploring expunging feting filing foreboding glimpsing goring guiding
        handwriting headlining igniting ignoring illumining imagining imbibing impaling impeding
        impinging imploring inciting inclining indulging inquiring inscribing interceding interfering
        intertwining intervening intoning inviting keynoting landscaping lapsing loathing lounging
        lunging massacring misquoting nasaling noticing noting nucleating outlining outmoding
        overindulging owing pasting permeating persevering persuading phoning piling plunging policing
        poling poring postponing practicing prearranging preceding prescribing pricing probing
        promoting proscribing pulsing quaking quoting ranging rearranging receding reciting reclining
        reconciling reconvening recreating redefining reexamining regaling rejoicing repulsing
        requiring rescheduling reshaping restoring retiing reuniting revenging revering reviling
        rewriting rhyming ridiculing ruling sacrificing sauting scaling scheduling scheming scoring
        scribing scrounging seceding secreting seething servicing silhouetting slicing sluicing smiling
        smiting snoring soothing spicing splicing sponging squaring stampeding stoning storing strafing
        styling subscribing sufficing superseding swathing tasting telephoning telescoping transcribing
        tubing typewriting typing underlining undermining underscoring underwriting uniting unsheathing
        voicing voting vouchsafing wasting wreathing writhing writing zoning
        """

    private static let plainForms = """
        accustoming adding auguring baring biding blossoming boging boycotting butting buzzing
        caucusing chorusing collaring coping debuting dining ebbing erring fathoming focusing gaping
        hating hoping loping mating mortaring murmuring paring piping priming pyramiding raging raping
        rating refocusing riding scaring shaming shining slating sliming sloping sparing staging
        staring sugaring sulphuring twining wading waging
        """

    private static let doubledForms = """
        appalling bevelling cancelling channelling compelling controlling corralling counselling
        degassing dialling dispelling distilling enamelling enrolling enthralling equalling excelling
        expelling frolicking fuelling fulfilling funnelling gassing grovelling impelling installing
        labelling levelling marshalling marvelling modelling outgeneralling palling panelling panicking
        parallelling parcelling patrolling picnicking pommelling propelling pummelling quarrelling
        rebelling refuelling repelling revelling rivalling shovelling signalling spiralling swivelling
        totalling travelling tunnelling unravelling whizzing
        """

    private static let otherForms = """
        belying>belie chevying>chivy chivvying>chivy dying>die lying>lie swopping>swap taxying>taxi
        tying>tie underlying>underlie untying>untie vying>vie
        """
}
