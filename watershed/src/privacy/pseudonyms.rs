use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use zeroize::Zeroizing;

use super::{Personal, Secret};
use crate::error::{Error, Remedy, Result};

/// What a person is called outside: the last 31 characters of a bcrypt hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// A pseudonym that another system stored.
    pub fn stored(text: impl Into<String>) -> Pseudonym {
        Pseudonym(text.into())
    }

    /// The 31 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Pseudonymises with bcrypt and the institution's salt.
///
/// Every distinct value of a call is hashed once, on all cores, off the async threads, and several
/// in step on each core (`bcrypt_lanes`); a bounded memo spares values that come again on a later
/// page. Only the first 72 bytes of a value count,
/// as in every bcrypt: stored pseudonyms depend on it.
pub struct Pseudonymiser {
    cost: u32,
    salt: [u8; 16],
    memo: Mutex<Memo>,
}

/// bcrypt's own base64.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

/// The two generations of the memo hold at most this many values each, about 15 MB.
const MEMO_VALUES: usize = 50_000;

impl Pseudonymiser {
    /// Takes the salt: `$2b$`, two digits of cost, `$`, 22 characters (29 in all). `$2a$` and
    /// `$2y$` give the same pseudonyms.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when the salt has another form, or its last character carries
    /// surplus bits: bcrypt libraries disagree on such a salt, so their pseudonyms would too.
    pub fn new(salt: &Secret) -> Result<Pseudonymiser> {
        let refused = |why: &str| {
            Error::new(
                Remedy::FixSettings,
                format!("reading the bcrypt salt: {why}"),
            )
            .with_hint(
                "expected `$2b$`, a cost of two digits, `$`, and 22 characters of bcrypt's base64",
            )
        };
        let text = salt.expose();
        if text.len() != 29 || !text.is_ascii() {
            return Err(refused("it must be 29 characters long"));
        }
        if !["$2a$", "$2b$", "$2y$"].contains(&&text[..4]) {
            return Err(refused("it must start with $2b$, $2a$ or $2y$"));
        }
        let digits = text[4..6].bytes().all(|b| b.is_ascii_digit()) && text.as_bytes()[6] == b'$';
        let cost = text[4..6].parse().unwrap_or(0);
        if !digits || !(4..=31).contains(&cost) {
            return Err(refused("its cost must be two digits, 04 to 31, and a `$`"));
        }
        if !text[7..]
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
        {
            return Err(refused("it has a character that is not of bcrypt's base64"));
        }
        if !text.ends_with(['.', 'O', 'e', 'u']) {
            return Err(refused(
                "its last character carries surplus bits (it must be one of `. O e u`)",
            ));
        }
        let decoded = Zeroizing::new(
            BCRYPT_BASE64
                .decode(&text[7..])
                .map_err(|_| refused("it is not of bcrypt's base64"))?,
        );
        let salt = decoded[..]
            .try_into()
            .map_err(|_| refused("it must hold 16 bytes"))?;
        Ok(Pseudonymiser {
            cost,
            salt,
            memo: Mutex::default(),
        })
    }

    /// A way out: the pseudonyms of `values`, in their order.
    ///
    /// Dropping the future stops the hashing within milliseconds.
    ///
    /// # Errors
    /// [`Remedy::ReportBug`] if a hashing thread panicked.
    pub async fn pseudonyms(&self, values: &[Personal<String>]) -> Result<Vec<Pseudonym>> {
        let mut known: HashMap<&Personal<String>, Option<Pseudonym>> =
            HashMap::with_capacity(values.len());
        let mut unknown = Vec::new();
        {
            let mut memo = self.memo.lock().expect("no holder of the memo panics");
            for value in values {
                known.entry(value).or_insert_with(|| {
                    let remembered = memo.get(value);
                    if remembered.is_none() {
                        unknown.push(value);
                    }
                    remembered
                });
            }
        }
        let texts: Vec<Personal<String>> = unknown.iter().map(|&value| value.clone()).collect();
        let hashed = self.hash_all(texts).await?;
        let mut memo = self.memo.lock().expect("no holder of the memo panics");
        for (value, pseudonym) in unknown.into_iter().zip(hashed) {
            memo.insert(value, &pseudonym);
            known.insert(value, Some(pseudonym));
        }
        Ok(values
            .iter()
            .map(|value| known[value].clone().expect("every value is hashed by now"))
            .collect())
    }

    async fn hash_all(&self, texts: Vec<Personal<String>>) -> Result<Vec<Pseudonym>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let (cost, salt) = (self.cost, self.salt);
        let dropped = Arc::new(AtomicBool::new(false));
        let stop = StopOnDrop(dropped.clone());
        let hashed =
            tokio::task::spawn_blocking(move || hash_on_all_cores(cost, salt, &texts, &dropped))
                .await
                // Its cause would repeat the words of a panic (P6).
                .map_err(|_| Error::new(Remedy::ReportBug, "hashing a page"));
        drop(stop);
        hashed
    }
}

/// Tells the hashing threads that nobody waits for them any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn hash_on_all_cores(
    cost: u32,
    salt: [u8; 16],
    texts: &[Personal<String>],
    stop: &AtomicBool,
) -> Vec<Pseudonym> {
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let parts = parts(texts.len(), cores);
    // A part takes milliseconds, so that one shared counter spreads the work evenly at no cost.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes: Vec<&[u8]> = texts[part.clone()]
                .iter()
                .map(|text| text.inner().as_bytes())
                .collect();
            // P7: an abandoned page is left in the midst of a hash, which may take seconds.
            let Some(hashes) = bcrypt_lanes::hash(cost, &salt, &bytes, stop) else {
                break;
            };
            done.push((part.start, hashes));
        }
        done
    };
    let mut hashed: Vec<(usize, Vec<[u8; 23]>)> = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(parts.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut all = work();
        for other in others {
            all.extend(other.join().expect("hashing does not panic"));
        }
        all
    });
    hashed.sort_unstable_by_key(|(start, _)| *start);
    hashed
        .into_iter()
        .flat_map(|(_, hashes)| hashes)
        .map(|hash| Pseudonym(BCRYPT_BASE64.encode(hash)))
        .collect()
}

/// Divides `texts` texts into parts that go in step: as wide as can be, equal to within one text,
/// and as many for each core as for every other.
fn parts(texts: usize, cores: usize) -> Vec<Range<usize>> {
    let parts = texts
        .div_ceil(bcrypt_lanes::WIDTH)
        .next_multiple_of(cores)
        .min(texts);
    (0..parts)
        .map(|part| texts * part / parts..texts * (part + 1) / parts)
        .collect()
}

/// A memo in two generations: when the young one is full it becomes the old one.
#[derive(Default)]
struct Memo {
    young: HashMap<Personal<String>, Pseudonym>,
    old: HashMap<Personal<String>, Pseudonym>,
}

impl Memo {
    fn get(&mut self, value: &Personal<String>) -> Option<Pseudonym> {
        if let Some(pseudonym) = self.young.get(value) {
            return Some(pseudonym.clone());
        }
        let pseudonym = self.old.get(value)?.clone();
        self.insert(value, &pseudonym);
        Some(pseudonym)
    }

    fn insert(&mut self, value: &Personal<String>, pseudonym: &Pseudonym) {
        if self.young.len() >= MEMO_VALUES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(value.clone(), pseudonym.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "$2b$04$GoldenTestSaltForNYPLu";

    fn personal(texts: &[&str]) -> Vec<Personal<String>> {
        texts
            .iter()
            .map(|&text| Personal::new(text.to_owned()))
            .collect()
    }

    async fn pseudonym(salt: &str, text: &str) -> String {
        let pseudonymiser = Pseudonymiser::new(&Secret::new(salt)).unwrap();
        pseudonymiser.pseudonyms(&personal(&[text])).await.unwrap()[0].to_string()
    }

    /// Pseudonyms that the programs before us stored.
    #[tokio::test]
    async fn stored_pseudonyms_are_met() {
        let a72 = "a".repeat(72);
        for (text, expected) in [
            ("", "bGev4OdsnMxznu8JTkkXM6Br6iO.cA."),
            ("1", "7xC7Mq4MXbyqxDCJGlKyTc1.mSC5ZVq"),
            ("481036337", "tHMWJyIul1ZMNfDMrrAdMplBMPx00bS"),
            (
                "481036000337_476 5th Ave_New York_NY_10018",
                "Jc0Ud8ddbMB0Ns/qwIN5KRhoteSSQs.",
            ),
            ("barcode 25555000000001", "WEqvsWTR3oHhBAX5VFO1svfX9Qm3m1S"),
            (&a72[1..], "xHXdNX129LQXmEh3B8JrCAjJUsJ/bE."),
            (&a72, "O3c8a01sRwa0dv8Qi64jegOPc3NvbSu"),
            (&format!("{a72}a"), "O3c8a01sRwa0dv8Qi64jegOPc3NvbSu"),
            (&"é".repeat(36), "ZqAP4DZ2YjXo0HLlv62tJF1cFPonHoi"),
            (&"é".repeat(37), "ZqAP4DZ2YjXo0HLlv62tJF1cFPonHoi"),
            (
                &format!("a{}", "é".repeat(36)),
                "kX1WnRB5EIswZNOCBxB28.c9UrWDUXq",
            ),
            (&"東京".repeat(19), "rG1QCh4oCXr21hKaaELZM.JGqB0UNAS"),
        ] {
            assert_eq!(pseudonym(SALT, text).await, expected, "{text}");
        }
    }

    #[tokio::test]
    async fn the_old_prefixes_of_a_salt_give_the_same_pseudonyms() {
        for prefix in ["$2a$", "$2y$"] {
            let salt = SALT.replace("$2b$", prefix);
            assert_eq!(
                pseudonym(&salt, "1").await,
                "7xC7Mq4MXbyqxDCJGlKyTc1.mSC5ZVq"
            );
        }
    }

    #[tokio::test]
    async fn every_value_gets_its_own_pseudonym_in_its_place() {
        let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT)).unwrap();
        let values: Vec<_> = (0..200)
            .map(|i| Personal::new((i % 50).to_string()))
            .collect();
        let first = pseudonymiser.pseudonyms(&values).await.unwrap();
        let again = pseudonymiser.pseudonyms(&values).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(first[1].as_str(), "7xC7Mq4MXbyqxDCJGlKyTc1.mSC5ZVq");
        assert_eq!(first[1], first[51]);
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 50);
    }

    /// Pages around the number that goes in step on each core.
    #[tokio::test]
    async fn a_page_of_any_size_gives_the_pseudonyms_of_its_values_alone() {
        let alone = Pseudonymiser::new(&Secret::new(SALT)).unwrap();
        let values: Vec<_> = (0..70).map(|i| Personal::new(i.to_string())).collect();
        let mut expected = Vec::new();
        for value in values.chunks(1) {
            expected.extend(alone.pseudonyms(value).await.unwrap());
        }
        for size in (0..=20).chain([70]) {
            let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT)).unwrap();
            let page = pseudonymiser.pseudonyms(&values[..size]).await.unwrap();
            assert_eq!(page, expected[..size], "{size} values");
        }
    }

    #[test]
    fn parts_are_even_and_no_wider_than_what_goes_in_step() {
        for texts in 0..200 {
            for cores in [1, 2, 3, 8, 64] {
                let parts = parts(texts, cores);
                let mut end = 0;
                for part in &parts {
                    assert_eq!(part.start, end);
                    assert!(part.len().abs_diff(texts / parts.len()) <= 1);
                    assert!((1..=bcrypt_lanes::WIDTH).contains(&part.len()));
                    end = part.end;
                }
                assert_eq!(end, texts);
                assert!(parts.len().is_multiple_of(cores) || parts.len() == texts);
            }
        }
    }

    /// P7: at this cost a hash takes months, and a runtime waits for its blocking threads.
    #[test]
    fn an_abandoned_page_does_not_keep_the_program_from_ending() {
        let (ended, wait) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let salt = Secret::new(SALT.replace("$04$", "$31$"));
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let pseudonymiser = Pseudonymiser::new(&salt).unwrap();
                let values = personal(&["1", "2", "3"]);
                tokio::select! {
                    biased;
                    _ = pseudonymiser.pseudonyms(&values) => panic!("hashed at once"),
                    () = tokio::task::yield_now() => {}
                }
            });
            drop(runtime);
            ended.send(()).unwrap();
        });
        wait.recv_timeout(std::time::Duration::from_secs(60))
            .expect("the runtime ends");
    }

    #[test]
    fn a_salt_of_another_form_is_refused_and_not_repeated() {
        for (salt, why) in [
            ("", "29 characters"),
            ("$2b$04$GoldenTestSaltForNYPL", "29 characters"),
            ("$2x$04$GoldenTestSaltForNYPLu", "must start with"),
            ("$2b$4x$GoldenTestSaltForNYPLu", "cost"),
            ("$2b$03$GoldenTestSaltForNYPLu", "cost"),
            ("$2b$32$GoldenTestSaltForNYPLu", "cost"),
            ("$2b$+4$GoldenTestSaltForNYPLu", "cost"),
            ("$2b$04_GoldenTestSaltForNYPLu", "cost"),
            ("$2b$04$GoldenTest-altForNYPLu", "base64"),
            ("$2b$04$GoldenTestSaltForNYPLA", "surplus bits"),
            ("$2b$04$GoldenTestSältForNYPLu", "29 characters"),
        ] {
            let error = Pseudonymiser::new(&Secret::new(salt)).err().expect(salt);
            let words = format!("{error:?}");
            assert!(words.contains(why), "{salt}: {words}");
            assert!(salt.is_empty() || !words.contains(salt), "{words}");
            assert_eq!(error.remedy(), Remedy::FixSettings);
        }
    }
}
