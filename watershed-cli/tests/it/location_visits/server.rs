//! A ShopperTrak that answers as it is told, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{Error as IoError, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::task::yield_now;

#[derive(Clone, Debug)]
pub enum Answer {
    /// A document.
    Xml(String),
    /// The service's own error, such as E108.
    Error(&'static str),
    Status(u16),
    /// The first bytes of a document, and then the connection is cut.
    Cut(String),
    /// Nothing, for longer than anybody waits.
    Silence,
    /// A document, compressed.
    Gzip(String),
    /// UTF-8, and a header that says otherwise.
    MisnamedCharset(String),
}

#[derive(Default)]
struct Told {
    /// By place and date; of the last one there are as many as are asked for.
    answers: HashMap<String, Vec<Answer>>,
    asked: Vec<Asked>,
}

/// A request.
#[derive(Clone)]
pub struct Asked {
    pub uri: String,
    pub headers: HeaderMap,
}

#[derive(Clone)]
pub struct ShopperTrak {
    address: String,
    told: Arc<Mutex<Told>>,
}

impl ShopperTrak {
    pub async fn start() -> ShopperTrak {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let told = Arc::new(Mutex::new(Told::default()));
        let app = Router::new().fallback(answer).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        ShopperTrak { address, told }
    }

    pub fn base(&self, version: &str) -> String {
        format!("http://{}/EnterpriseFlash/{version}/", self.address)
    }

    /// What is answered about all sites on a day, `YYYYMMDD`, one answer after another.
    pub fn tell(&self, day: &str, answers: &[Answer]) {
        self.tell_of("allsites", day, answers);
    }

    pub fn tell_of(&self, place: &str, day: &str, answers: &[Answer]) {
        let mut told = self.told.lock().unwrap();
        let key = format!("{place}|{day}");
        told.answers.insert(key, answers.to_vec());
    }

    /// Places and dates of the requests since the last call.
    pub fn asked(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|asked| key(&asked.uri))
            .collect()
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut self.told.lock().unwrap().asked)
    }
}

/// `allsites|20240629`, from the end of the path and the query.
fn key(uri: &str) -> String {
    let (path, query) = uri.split_once('?').expect("a query");
    let place = path.split_once("/service/").expect("a service").1;
    let date = query.split('&').find_map(|pair| pair.strip_prefix("date="));
    format!("{place}|{}", date.expect("a date"))
}

async fn answer(
    State(told): State<Arc<Mutex<Told>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let uri = uri.to_string();
    let answer = {
        let mut told = told.lock().unwrap();
        let asked = Asked {
            uri: uri.clone(),
            headers,
        };
        told.asked.push(asked);
        let answers = told.answers.get_mut(&key(&uri));
        match answers {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Answer::Error("E104"),
        }
    };
    let response = Response::builder();
    match answer {
        Answer::Xml(xml) => response.body(xml.into()),
        Answer::Error(code) => {
            let xml = format!("<?xml version=\"1.0\"?><message><error>{code}</error></message>");
            response.body(xml.into())
        }
        Answer::Status(status) => {
            let response = response.status(status).header("Location", "/elsewhere");
            response.body("<html><body>no".into())
        }
        Answer::Cut(xml) => {
            let pieces = [Ok(Bytes::from(xml)), Err(IoError::other("cut"))];
            // What was written is on its way before the connection is cut.
            let written = |piece| async {
                yield_now().await;
                piece
            };
            let pieces = stream::iter(pieces).then(written);
            response.body(Body::from_stream(pieces))
        }
        Answer::Silence => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            response.body(Body::empty())
        }
        Answer::Gzip(xml) => {
            let response = response.header("Content-Encoding", "gzip");
            response.body(gzip(&xml).into())
        }
        Answer::MisnamedCharset(xml) => {
            let kind = "text/xml; charset=ISO-8859-1";
            response.header("Content-Type", kind).body(xml.into())
        }
    }
    .expect("a response")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip can be run");
    let mut stdin = gzip.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("gzip reads");
    drop(stdin);
    gzip.wait_with_output().expect("gzip ends").stdout
}

/// A document about one site with one door.
pub fn day(date: &str, traffic: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><sites><site siteID=\"aa\"><date dateValue=\"{date}\">\
         <entrance entranceName=\"EP 01\">{traffic}</entrance></date></site></sites>"
    )
}

pub fn traffic(start: &str, code: &str, enters: &str, exits: &str) -> String {
    format!(
        "<traffic code=\"{code}\" exits=\"{exits}\" enters=\"{enters}\" startTime=\"{start}\"/>"
    )
}

/// A good answer about a day: two increments.
pub fn good(date: &str) -> Answer {
    let increments = [
        traffic("090000", "01", "3", "2"),
        traffic("091500", "01", "1", "4"),
    ];
    Answer::Xml(day(date, &increments.concat()))
}
