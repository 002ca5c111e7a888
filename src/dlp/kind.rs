//! What is looked for where no shape can say it: numbers that their checksum tells, and what
//! stands near them.

use super::phrases::Words;

/// A kind of data with a search of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number of a payment card: issuer, length and check digit (ISO/IEC 7812), named as
    /// one near by or one of several in a row.
    Card,
    /// The number of a bank account: country, structure and check digits (ISO 13616).
    Iban,
    /// A social security number of the United States, named as one near by.
    UsSsn,
    /// A phrase of words from which the keys of a wallet are made (BIP-39).
    SeedPhrase,
    /// The private key of a wallet, as it is imported (WIF).
    WalletKey,
    /// The value of a field that is called a password, a secret, a token or a key, if it looks
    /// random.
    SecretField,
}

impl Kind {
    /// Every kind, by its word in files.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("card", Self::Card),
        ("iban", Self::Iban),
        ("us-ssn", Self::UsSsn),
        ("seed-phrase", Self::SeedPhrase),
        ("wallet-key", Self::WalletKey),
        ("secret-field", Self::SecretField),
    ];

    /// Its word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(word, _)| *word)
    }

    /// Whether it is found by its digits.
    fn is_number(self) -> bool {
        match self {
            Self::Card | Self::Iban | Self::UsSsn => true,
            Self::SeedPhrase | Self::WalletKey | Self::SecretField => false,
        }
    }
}

/// Which detectors look for which kinds.
#[derive(Debug, Default)]
pub struct Kinds {
    all: Vec<(Kind, u32)>,
    numbers: bool,
    wallets: bool,
    words: Option<Box<Words>>,
}

impl Kinds {
    /// These, by the numbers of their detectors.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (Kind, u32)>) -> Self {
        let all: Vec<_> = all.into_iter().collect();
        let has = |wanted| all.iter().any(|(kind, _)| *kind == wanted);
        Self {
            wallets: has(Kind::WalletKey),
            words: has(Kind::SeedPhrase).then(|| Box::new(Words::english())),
            numbers: all.iter().any(|(kind, _)| kind.is_number()),
            all,
        }
    }

    /// The detectors of `kind`.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = u32> {
        let of = self.all.iter().filter(move |(known, _)| *known == kind);
        of.map(|(_, detector)| *detector)
    }

    /// Whether private keys of wallets are looked for.
    #[must_use]
    pub fn wallets(&self) -> bool {
        self.wallets
    }

    /// The words of seed phrases, if these are looked for.
    pub(super) fn words(&self) -> Option<&Words> {
        self.words.as_deref()
    }

    /// Whether any is found by its digits.
    #[must_use]
    pub fn numbers(&self) -> bool {
        self.numbers
    }
}
