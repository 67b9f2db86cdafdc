extension OKVQAStemmer {
    /// The data set's table, made by hand (LIVE's spec 6.3): 168 words.
    static let table: [String: String] = {
        var table: [String: String] = [:]
        for word in unchanged.split(whereSeparator: \.isWhitespace) { table[String(word)] = String(word) }
        for word in withoutFinalS.split(whereSeparator: \.isWhitespace) {
            table[String(word)] = String(word.dropLast())
        }
        for pair in others.split(whereSeparator: \.isWhitespace) {
            let parts = pair.split(separator: ">")
            if parts.count == 2 { table[String(parts[0])] = String(parts[1]) }
        }
        return table
    }()

    private static let unchanged = "police las vegas yes are married tennis christmas"

    private static let withoutFinalS = """
        jeans ties gloves waves drives quantas graves braves caves cumulis bases pies childrens shelves
        microwaves womens adhesives overseas doves sometimes
        """

    /// Word and stem with `>` between them.
    private static let others = """
        alertness>alert alpes>alp apartments>apart awning>awn backpackers>backpack badness>bad
        baldness>bald batter's>batter belongings>belong blindness>blind boy's>boy brightness>bright
        browsing>brows buildings>build casings>case charioteering>chariot circuses>circus clothes>cloth
        clothing>cloth coding>code conducter>conduct conferences>confer coniferous>conifer
        containers>contain controllers>control corgie>corgi couponing>coupon creame>cream crepte>crept
        curiousity>curious dangerous>danger daughter's>daughter decorations>decor designers>design
        dining>dine directions>direct domino's>domino drunkenness>drunken earing>ear earnings>earn
        eatting>eat electicity>elect electronics>electron elevators>elev emirates>emir
        expressions>express farmer's>farmer firefighters>firefight firefighting>firefight glaced>glace
        gondoliere>gondolier haircutting>haircut hamburgers>hamburg hawke>hawk hearding>heard hell's>hell
        hornes>horn illness>ill kid's>kid kindergartener>kindergarten kiting>kite leaves>leaf lenses>lens
        lowes>low markings>mark mating>mate meetings>meet men's>men minerals>miner mopeds>mope
        morning>morn mountainous>mountain mustange>mustang nationals>nation oxygenize>oxygen
        paintings>paint paned>pane paring>pare pease>peas personals>person piping>pipe plating>plate
        playfulness>play polarizing>polar pooping>poop porche>porch potatoe>potato
        professionals>profession projections>project propellers>propel protesters>protest pudding>pud
        purring>pure rabbies>rabbi raines>rain reflections>reflect regent's>regent reminders>remind
        reporters>report revelations>revel riding>ride ringe>ring ripeness>ripe rodeoing>rodeo
        routes>rout sadness>sad sautee>saute scrapbooking>scrapbook settings>set sickness>sick
        skateboarders>skateboard smugness>smug socializing>social staring>stare stockings>stock
        striping>stripe sunbathing>sunbath sunblocker>sunblock suspenders>suspend swining>swine
        teasing>teas teething>teeth tenning>ten texting>text toileting>toilet tomatoe>tomato toppings>top
        transitions>transit travelers>travel travellers>travel urinating>urine vacationing>vacate
        vandalizers>vandal vastness>vast veteran's>veteran wading>wade walle>wall weddings>wed
        wetness>wet wilderness>wilder
        """
}
