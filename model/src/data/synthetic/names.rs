//! Made-up names, composed from sounds.
//!
//! Each region has its own sounds, so that parts of a word hint at where it is from and a name never met before can
//! still be recognised as one. A stem alone says nothing about what it names: people, places and firms share stems, and
//! only the words around them tell.

use rand_chacha::ChaCha8Rng;

use crate::seed::{index, pick, uniform};

/// The sounds of a region.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    onsets: &'static [&'static str],
    vowels: &'static [&'static str],
    middles: &'static [&'static str],
    ends: &'static [&'static str],
    surname_ends: &'static [&'static str],
    place_ends: &'static [&'static str],
    /// Turns a stem into the adjective of its people.
    people_ends: &'static [&'static str],
    first_names: &'static [&'static str],
}

/// All regions.
pub const REGIONS: [Region; 6] = [
    Region {
        onsets: &["Bra", "Kel", "Mar", "Tor", "Hal", "Wen", "Dun", "Ash", "Cor", "Pel"],
        vowels: &["", "o", "e", "i"],
        middles: &["d", "m", "n", "rr", "ld", "st", "v"],
        ends: &["en", "ow", "in", "ick", "am", "on"],
        surname_ends: &["", "", "son", "er", "ley"],
        place_ends: &["", "", "ford", "ton", "mouth", "bury"],
        people_ends: &["ian", "ish"],
        first_names: &["Edda", "Colm", "Brin", "Tessa", "Rowan", "Merrick", "Isla", "Garan", "Nell", "Osric"],
    },
    Region {
        onsets: &["Val", "Ser", "Lom", "Car", "Fio", "Bel", "Mon", "Ric", "Tal", "Gra"],
        vowels: &["a", "e", "i", "o"],
        middles: &["l", "n", "r", "tt", "nz", "v", "z"],
        ends: &["ano", "etti", "ara", "ino", "ella", "osa"],
        surname_ends: &["", "", "ri", "ni"],
        place_ends: &["", "", "via", "monte", "sole"],
        people_ends: &["ese", "an"],
        first_names: &[
            "Livio", "Nerina", "Tazio", "Orsola", "Dario", "Fiamma", "Elmo", "Silvana", "Renzo", "Gaia",
        ],
    },
    Region {
        onsets: &["Grz", "Vol", "Kras", "Zel", "Dob", "Mir", "Stan", "Bor", "Rad", "Jar"],
        vowels: &["o", "a", "e", "y"],
        middles: &["v", "sk", "k", "ln", "zd", "m"],
        ends: &["ov", "ek", "ik", "ar", "ny", "in"],
        surname_ends: &["", "", "ski", "enko", "ova"],
        place_ends: &["", "", "grad", "sk", "ice"],
        people_ends: &["ian", "sh"],
        first_names: &["Zoran", "Mila", "Bogdan", "Katya", "Lev", "Danica", "Oleg", "Irena", "Pavol", "Yana"],
    },
    Region {
        onsets: &["Aka", "Shi", "Tomo", "Ryu", "Haru", "Kiri", "Nao", "Mizu", "Saka", "Yuri"],
        vowels: &["", "n", "i"],
        middles: &["m", "k", "sh", "t", "n", "b"],
        ends: &["ara", "ida", "oto", "uki", "awa", "ori"],
        surname_ends: &["", "", "mura", "da"],
        place_ends: &["", "", "shima", "hama", "gawa"],
        people_ends: &["ese", "an"],
        first_names: &["Renji", "Aiko", "Daichi", "Hanae", "Kaito", "Mio", "Sora", "Takumi", "Yua", "Noboru"],
    },
    Region {
        onsets: &["Ade", "Oku", "Nki", "Zuba", "Femi", "Kwa", "Ola", "Tun", "Chi", "Mba"],
        vowels: &["", "ba", "lu"],
        middles: &["m", "nd", "k", "r", "b", "w"],
        ends: &["ola", "eke", "uda", "ame", "osi", "unde"],
        surname_ends: &["", "", "wu", "ye"],
        place_ends: &["", "", "kori", "ville", "desa"],
        people_ends: &["ian", "ese"],
        first_names: &["Ayo", "Zuri", "Kofi", "Nala", "Tendai", "Ama", "Jabari", "Sade", "Obi", "Imani"],
    },
    Region {
        onsets: &["Sol", "Bjar", "Hed", "Ing", "Ros", "Vik", "Lund", "Sten", "Eld", "Try"],
        vowels: &["", "e", "a", "u"],
        middles: &["v", "st", "lm", "nd", "g", "r"],
        ends: &["und", "vik", "ell", "or", "ing", "ar"],
        surname_ends: &["", "", "sen", "berg", "qvist"],
        place_ends: &["", "", "stad", "fjord", "borg"],
        people_ends: &["ish", "ic"],
        first_names: &[
            "Astrid", "Leif", "Runa", "Halvar", "Signe", "Torvald", "Freja", "Ulf", "Maren", "Sindre",
        ],
    },
];

impl Region {
    /// A stem of two or three parts with a capital, such as `Haldon` or `Valanzara`.
    pub fn stem(&self, rng: &mut ChaCha8Rng) -> String {
        let mut stem = String::from(draw(rng, self.onsets));
        stem.push_str(draw(rng, self.vowels));
        stem.push_str(draw(rng, self.middles));
        stem.push_str(draw(rng, self.ends));
        stem
    }

    /// A stem as a surname.
    pub fn surname(&self, rng: &mut ChaCha8Rng, stem: &str) -> String {
        format!("{stem}{}", draw(rng, self.surname_ends))
    }

    /// A stem as a place.
    pub fn place(&self, rng: &mut ChaCha8Rng, stem: &str) -> String {
        format!("{stem}{}", draw(rng, self.place_ends))
    }

    /// The adjective of a people, such as `Haldonian`.
    pub fn people(&self, rng: &mut ChaCha8Rng, stem: &str) -> String {
        format!("{}{}", stem.trim_end_matches(['a', 'e', 'i', 'o', 'u', 'y']), draw(rng, self.people_ends))
    }

    /// A first name: a known one, or one made from sounds.
    pub fn first_name(&self, rng: &mut ChaCha8Rng) -> String {
        if uniform(rng) < 0.7 {
            return draw(rng, self.first_names).to_owned();
        }
        format!("{}{}", draw(rng, self.onsets), draw(rng, &["a", "o", "is", "en", "ie", "us"]))
    }
}

/// Three or four capitals.
pub fn acronym(rng: &mut ChaCha8Rng) -> String {
    let length = 3 + usize::from(uniform(rng) < 0.3);
    (0..length).map(|_| (b'A' + index(rng, 26) as u8) as char).collect()
}

/// One of a list that is not empty.
pub fn draw<'a>(rng: &mut ChaCha8Rng, items: &[&'a str]) -> &'a str {
    pick(rng, items).copied().unwrap_or("")
}
