use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Personal, Secret};

/// Encrypts the id of a person for the state document.
///
/// A cursor needs the id of the last record as its tie-break, and the state is read by people,
/// backups and other programs (P6). So it holds the id encrypted (ChaCha20-Poly1305, the key
/// derived from the institution's salt). The `context` is what the id belongs to; an id that was
/// sealed with another salt or for another context does not open, and the cursor is then the
/// inclusive one, which loses nobody.
pub struct Seal(LessSafeKey);

impl Seal {
    /// A seal whose key is derived from a secret that every runner of the pipeline has.
    pub fn new(secret: &Secret) -> Seal {
        let extracted = Salt::new(HKDF_SHA256, b"watershed").extract(secret.expose().as_bytes());
        let key = extracted
            .expand(&[b"tie-break id in the state"], &CHACHA20_POLY1305)
            .expect("a key of the algorithm's own length can be derived");
        Seal(LessSafeKey::new(UnboundKey::from(key)))
    }

    /// A way out: the id, encrypted, as text.
    pub fn seal(&self, id: &Personal<i64>, context: &str) -> String {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .expect("the operating system gives random bytes");
        let mut sealed = id.inner().to_be_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .expect("eight bytes can be sealed");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed[..]].concat())
    }

    /// The id, if it was sealed with this key for this context.
    pub fn open(&self, sealed: &str, context: &str) -> Option<Personal<i64>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), sealed)
            .ok()?;
        Some(Personal::new(i64::from_be_bytes(
            (&*opened).try_into().ok()?,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_salt_and_context_alone() {
        let seal = Seal::new(&Secret::new("$2b$04$GoldenTestSaltForNYPLu"));
        let id = Personal::new(481_036_337_i64);
        let sealed = seal.seal(&id, "2024-06-14T23:30:00-04:00");
        assert!(!sealed.contains("481036337"));
        assert_eq!(seal.open(&sealed, "2024-06-14T23:30:00-04:00"), Some(id));
        assert_eq!(seal.open(&sealed, "2024-06-14T23:30:01-04:00"), None);
        assert_eq!(
            Seal::new(&Secret::new("other")).open(&sealed, "2024-06-14T23:30:00-04:00"),
            None
        );
        assert_eq!(seal.open("", ""), None);
        assert_eq!(seal.open("481036337", ""), None);
    }
}
