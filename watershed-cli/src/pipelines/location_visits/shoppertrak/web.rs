use std::io::{BufRead, Read, Result as IoResult};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use jiff::civil::Date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use watershed::connectors::http::{Http, basic_authorization, connects, next_piece};
use watershed::error::{Error, Remedy, Result};
use watershed::privacy::Secret;

use super::{Question, Reply, document};

/// All but the unreserved characters of RFC 3986 and `/`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Pieces of a body that may wait for the parser: a few hundred kilobytes.
const PIECES: usize = 16;

/// The service itself.
pub(super) struct Web {
    http: Http,
    /// Ends with `/service/`.
    base: String,
    /// Whether this is the service of version 1.0.
    older: bool,
    user: Secret,
    password: Secret,
}

impl Web {
    pub fn new(url: &str, user: &Secret, password: &Secret, limit: Duration) -> Result<Web> {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let what = format!("opening ShopperTrak at `{url}`");
            return Err(Error::new(Remedy::FixSettings, what)
                .with_hint("expected https://, or file: and a folder of recorded answers"));
        }
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/service").unwrap_or(base);
        let base = format!("{}/service/", base.trim_end_matches('/'));
        Ok(Web {
            // Every request holds the password.
            http: Http::without_redirects(limit)?,
            older: base.contains("/v1.0/"),
            base,
            user: user.clone(),
            password: password.clone(),
        })
    }

    pub(super) fn url(&self, question: Question<'_>, day: Date) -> String {
        let place = match question {
            Question::AllSites => "allsites".to_owned(),
            Question::Site(id) => format!("site/{}", utf8_percent_encode(id, ENCODED)),
        };
        let kind = match self.older {
            true => "total_property=N",
            false => "total_property_only=false&detail=entrance",
        };
        let date = day.strftime("%Y%m%d");
        format!("{}{place}?date={date}&increment=15&{kind}", self.base)
    }

    pub async fn ask(&self, question: Question<'_>, day: Date) -> Result<Reply> {
        let what = question.tried(day);
        let request = self
            .http
            .get(&self.url(question, day))
            .header("Content-Type", "application/xml")
            .header("Cache-Control", "no-cache")
            .header("Pragma", "no-cache")
            .header(
                "Authorization",
                basic_authorization(&self.user, &self.password),
            );
        let mut answer = match self.http.exchange(&what, request).await {
            Ok(answer) => answer,
            Err(error) => return lost(error),
        };
        let status = answer.status();
        if !status.is_success() {
            return Ok(Reply::Status(status.as_u16(), status.to_string()));
        }
        // The parser is not asynchronous: it works in a thread of its own while the next pieces
        // arrive.
        let (pieces, arriving) = mpsc::channel(PIECES);
        let older = self.older;
        let parsing = spawn_blocking(move || document::read(Arriving::new(arriving), day, older));
        loop {
            let piece = match next_piece(&what, &mut answer).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // Whatever the parser makes of the beginning: the answer is not whole.
                Err(error) => return lost(error),
            };
            if pieces.send(piece).await.is_err() {
                // The parser has found what no further piece can mend.
                break;
            }
        }
        drop(pieces);
        let read = parsing
            .await
            .map_err(|_| Error::new(Remedy::ReportBug, what))?;
        Ok(Reply::Document(read))
    }

    /// That the host answers, without a request; for `check`.
    pub async fn check(&self) -> Result<String> {
        connects(&self.base).await
    }
}

fn lost(error: Error) -> Result<Reply> {
    match error.remedy() {
        Remedy::TryAgain => Ok(Reply::Lost(error)),
        _ => Err(error),
    }
}

/// The pieces of a body, as the parser wants them.
struct Arriving {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Arriving {
    fn new(pieces: mpsc::Receiver<Bytes>) -> Arriving {
        let piece = Bytes::new();
        Arriving { pieces, piece }
    }
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> IoResult<&[u8]> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, bytes: usize) {
        self.piece.advance(bytes);
    }
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> IoResult<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}
