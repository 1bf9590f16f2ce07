//! What production has: encrypted settings, the Census Bureau's service, NYC Geoclient.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;

use crate::fixture::{Address, Patron};
use crate::world::{World, http, pseudonym, server};

const YEAR_AGO: &str = "2023-07-01T00:00:00-04:00";

/// A fake of both services, on loopback.
#[derive(Clone, Default)]
struct Geocoders {
    /// What Census answers to every request, where it does not match addresses.
    census: Arc<Mutex<Option<(StatusCode, String)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Geocoders {
    /// Serves, and makes the world use it.
    async fn serve(world: &mut World) -> Geocoders {
        let geocoders = Geocoders::default();
        let app = Router::new()
            .route("/census/addressbatch", post(census))
            .route("/nyc/address.json", get(nyc))
            .with_state(geocoders.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        world.program.settings.remove("GEOCODER_URL");
        world.set(
            "GEOCODER_API_BASE_URL",
            &format!("http://{address}/census/addressbatch"),
        );
        world.set("GEOCODER_API_KEY", "census-key-of-the-test");
        world.set("NYC_GEOCODER_URL", &format!("http://{address}/nyc"));
        world.set("NYC_GEOCODER_KEY", "nyc-key-of-the-test");
        world.program.hidden.extend([
            "census-key-of-the-test".to_owned(),
            "nyc-key-of-the-test".to_owned(),
        ]);
        geocoders
    }

    fn answer(&self, status: StatusCode, body: &str) {
        *self.census.lock().unwrap() = Some((status, body.to_owned()));
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Matches addresses on Quince Terrace, as they were typed or as cleaning writes them.
async fn census(
    State(geocoders): State<Geocoders>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> (StatusCode, String) {
    let keyed = query.get("key").map(String::as_str) == Some("census-key-of-the-test");
    let editions = (query["benchmark"].as_str(), query["vintage"].as_str());
    assert!(
        keyed && editions == ("Public_AR_Current", "Current_Current"),
        "{query:?}"
    );
    let body = String::from_utf8(body.to_vec()).unwrap();
    let csv = body
        .split("\r\n\r\n")
        .nth(1)
        .unwrap()
        .split("\r\n--")
        .next()
        .unwrap()
        .to_owned();
    geocoders.requests.lock().unwrap().push(csv.clone());
    if let Some((status, answer)) = geocoders.census.lock().unwrap().clone() {
        return (status, answer);
    }
    let rows = csv.lines().rev().map(|row| {
        let (number, address) = row.split_once(',').unwrap();
        if address.starts_with("476 Quince Terrace,") {
            format!("\"{number}\",\"{address}\",\"Match\",\"Exact\",\"476 QUINCE TER\",\"-73.9,40.7\",\"1\",\"L\",\"36\",\"061\",\"000100\",\"1000\"\n")
        } else {
            format!("\"{number}\",\"echo\",\"No_Match\"\n")
        }
    });
    (StatusCode::OK, rows.collect())
}

async fn nyc(
    State(geocoders): State<Geocoders>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> axum::Json<Json> {
    assert_eq!(headers["Ocp-Apim-Subscription-Key"], "nyc-key-of-the-test");
    geocoders.requests.lock().unwrap().push(format!(
        "nyc {} {} {}",
        query["houseNumber"], query["street"], query["zip"]
    ));
    axum::Json(match query["street"].as_str() {
        "Persimmon Street" => {
            json!({"address": {"firstBoroughName": "BROOKLYN", "censusTract2020": "  31  "}})
        }
        _ => json!({"address": {"message": "not recognised"}}),
    })
}

fn patron(id: i64, street: &str) -> Patron {
    let address = Address {
        street: Some(street.into()),
        city: Some("Tidewaterville"),
        region: Some("NY"),
        postal_code: Some("10018"),
        ..Address::default()
    };
    Patron::created(id, "2024-06-01 12:00:00").at(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_attempts_are_made_and_counted() {
    let mut world = World::embedded();
    let geocoders = Geocoders::serve(&mut world).await;
    world
        .add(&[
            patron(485_000_000_001, "476 Quince Terrace"),
            patron(485_000_000_002, "476 Quince Terrace, #*Apt 3"),
            patron(485_000_000_003, "12 Persimmon Street"),
            patron(485_000_000_004, "14 Nowhere Alley"),
            Patron::created(485_000_000_005, "2024-06-01 12:00:00"),
        ])
        .await;
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    let ended = world.poll().await.expect(0);
    for counted in ["1 geocoded by census;", "1 geocoded by nyc", "1 no address"] {
        ended.says(counted);
    }
    let records = world.delivered().await;
    let mut tracts = BTreeMap::new();
    for id in 485_000_000_001_i64..=485_000_000_005 {
        let pseudonym = pseudonym(&id.to_string()).await;
        let record = records
            .iter()
            .find(|record| record["patron_id"] == pseudonym.as_str())
            .unwrap();
        tracts.insert(id - 485_000_000_000, record["geoid"].clone());
    }
    assert_eq!(tracts[&1], "36061000100");
    assert_eq!(tracts[&3], "36047003100");
    assert_eq!(tracts[&4], Json::Null);
    assert_eq!(tracts[&5], Json::Null);
    let requests = geocoders.requests();
    assert!(
        requests[0].starts_with("0,476 Quince Terrace,Tidewaterville,NY,10018\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests.contains(&"nyc 12 Persimmon Street 10018".to_owned()),
        "{requests:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_geocoder_that_fails_leaves_the_page_unsent() {
    let mut world = World::servers().await;
    let geocoders = Geocoders::serve(&mut world).await;
    world.set("RETRY_SECONDS", "2");
    world
        .add(&[patron(485_100_000_001, "476 Quince Terrace")])
        .await;
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    let before = world.state_text().await;
    for (status, body, code) in [(403, "no", 3), (200, "<html>Sorry</html>", 4), (500, "", 4)] {
        geocoders.answer(StatusCode::from_u16(status).unwrap(), body);
        world
            .poll()
            .await
            .expect(code)
            .says("Failed to retrieve geocoded addresses from API");
        assert_eq!(world.state_text().await, before);
        assert!(world.delivered().await.is_empty());
    }
    *geocoders.census.lock().unwrap() = None;
    world.poll().await.expect(0);
    assert_eq!(world.delivered().await[0]["geoid"], "36061000100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_geocoder_is_checked_without_a_request() {
    let mut world = World::embedded();
    let geocoders = Geocoders::serve(&mut world).await;
    world.start_at_the_end().await;
    let checked = world.program.run(&["check", "patron-info"]).await.expect(0);
    assert!(
        checked.stdout.contains("ok    geocoder   127.0.0.1:"),
        "{}",
        checked.stdout
    );
    assert!(geocoders.requests().is_empty());
}

/// One call of KMS's JSON protocol.
async fn kms(operation: &str, body: Json) -> Json {
    let endpoint = server("WATERSHED_TEST_AWS");
    let target = format!("X-Amz-Target: TrentService.{operation}");
    let authorization = "Authorization: AWS4-HMAC-SHA256 Credential=testing/20240701/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
    let headers = [
        "Content-Type: application/x-amz-json-1.1",
        &target,
        authorization,
    ];
    serde_json::from_str(&http(&endpoint, "POST", "/", &headers, &body.to_string()).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_with_encrypted_values_starts_unchanged() {
    let mut world = World::servers().await;
    world
        .add(&[patron(485_200_000_001, "476 Quince Terrace")])
        .await;
    world.start_at(YEAR_AGO, "2099-01-01", "2099-01-01").await;
    let key = kms("CreateKey", json!({})).await["KeyMetadata"]["KeyId"]
        .as_str()
        .unwrap()
        .to_owned();

    let settings = std::mem::take(&mut world.program.settings);
    let secret = [
        "SIERRA_DB_HOST",
        "SIERRA_DB_USER",
        "SIERRA_DB_PASSWORD",
        "REDSHIFT_DB_HOST",
        "REDSHIFT_DB_USER",
        "REDSHIFT_DB_PASSWORD",
        "KINESIS_STREAM_ARN",
        "BCRYPT_SALT",
    ];
    let mut file = String::from("PLAINTEXT_VARIABLES:\n");
    for (name, text) in settings
        .iter()
        .filter(|(name, _)| !secret.contains(&name.as_str()))
    {
        file.push_str(&format!("  {name}: {text}\n"));
    }
    file.push_str("  IGNORE_CACHE:\n  IGNORE_KINESIS: \nENCRYPTED_VARIABLES:\n");
    // Nothing but the environment's name and the way to KMS for `config encrypt`.
    world.set("ENVIRONMENT", "production");
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        world.set(name, &settings[name]);
    }
    for name in secret {
        let encrypted = world
            .program
            .run_with_input(&["config", "encrypt", "--key", &key, name], &settings[name])
            .await;
        let line = encrypted.expect(0).stdout;
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
        file.push_str(&format!("  {line}"));
    }
    // From here on the file alone tells where everything is.
    world
        .program
        .settings
        .retain(|name, _| name == "ENVIRONMENT");
    std::fs::create_dir(world.path("config")).unwrap();
    // The file holds what the search would find: it is a source.
    std::fs::create_dir(world.path("sources/config")).unwrap();
    std::fs::write(world.path("sources/config/production.yaml"), &file).unwrap();
    std::os::unix::fs::symlink(
        "../sources/config/production.yaml",
        world.path("config/production.yaml"),
    )
    .unwrap();
    world
        .program
        .hidden
        .retain(|hidden| hidden != "testing-secret-key");
    world.poll().await.expect(0);
    assert_eq!(world.delivered().await.len(), 1);

    for (broken, words) in [
        (
            file.replace("BCRYPT_SALT: ", "BCRYPT_SALT: !!"),
            "BCRYPT_SALT",
        ),
        (
            file.replace("SIERRA_DB_USER: ", "SIERRA_DB_USER: AAAA"),
            "decrypting SIERRA_DB_USER",
        ),
    ] {
        std::fs::write(world.path("sources/config/production.yaml"), broken).unwrap();
        world.poll().await.expect(3).says(words);
    }
}

/// The two calls of Redshift's own interface that give a login.
async fn redshift_api(address: String, user: String, password: String) -> String {
    let answer = move |body: String| {
        let (address, user, password) = (address.clone(), user.clone(), password.clone());
        async move {
            let (host, port) = address.split_once(':').unwrap();
            if body.contains("Action=DescribeClusters") {
                assert!(body.contains("ClusterIdentifier=analytics"), "{body}");
                return format!(
                    "<DescribeClustersResponse><DescribeClustersResult><Clusters><Cluster><ClusterStatus>available</ClusterStatus>\
                     <Endpoint><Address>{host}</Address><Port>{port}</Port></Endpoint></Cluster></Clusters></DescribeClustersResult></DescribeClustersResponse>"
                );
            }
            assert!(body.contains("Action=GetClusterCredentials"), "{body}");
            format!(
                "<GetClusterCredentialsResponse><GetClusterCredentialsResult><DbUser>{user}</DbUser><DbPassword>{password}</DbPassword>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration></GetClusterCredentialsResult></GetClusterCredentialsResponse>"
            )
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/", post(answer))).await },
    );
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_stands_in_for_host_and_password() {
    let mut world = World::servers().await;
    world.start_at("2099-01-01", YEAR_AGO, "2099-01-01").await;
    world
        .add(&[Patron {
            updated: Some("2024-06-01 12:00:00"),
            created: None,
            ..patron(485_300_000_001, "476 Quince Terrace")
        }])
        .await;
    // AWS names another user than the one it was asked for.
    let user = format!("IAM:{}", world.program.settings["REDSHIFT_DB_NAME"]);
    world
        .in_redshift(&format!(
            "CREATE ROLE \"{user}\" LOGIN SUPERUSER PASSWORD 'temporary-password'"
        ))
        .await;
    let settings = world.program.settings.clone();
    let address = format!(
        "{}:{}",
        settings["REDSHIFT_DB_HOST"], settings["REDSHIFT_DB_PORT"]
    );
    let api = redshift_api(address, user, "temporary-password".into()).await;
    for name in [
        "REDSHIFT_DB_HOST",
        "REDSHIFT_DB_PORT",
        "REDSHIFT_DB_PASSWORD",
    ] {
        world.program.settings.remove(name);
    }
    world.program.hidden.push("temporary-password".into());
    world.set("REDSHIFT_CLUSTER", "analytics");
    world.set("AWS_ENDPOINT_URL_REDSHIFT", &api);
    world.poll().await.expect(0);
    assert_eq!(world.delivered().await.len(), 1);
    world.set("REDSHIFT_DB_HOST", "elsewhere.example");
    world
        .poll()
        .await
        .expect(3)
        .says("REDSHIFT_DB_HOST (environment): it has no place beside REDSHIFT_CLUSTER");
}

/// Sierra speaks TLS with a certificate of its own; Redshift, here, does not.
#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_not_verified_and_how_to_pin_it() {
    let mut world = World::servers().await;
    world.start_at_the_end().await;
    let checked = world.program.run(&["check", "patron-info"]).await.expect(0);
    let line = checked
        .stdout
        .lines()
        .find(|line| line.starts_with("ok    Sierra"))
        .unwrap();
    let (_, fingerprint) = line.split_once("sslfingerprint=").expect("a fingerprint");
    checked
        .says("a connection is not verified: encrypted")
        .says("a connection is not verified: not encrypted");
    let name = world.program.settings["SIERRA_DB_NAME"].clone();
    world.set(
        "SIERRA_DB_NAME",
        &format!("{name}?sslfingerprint={fingerprint}"),
    );
    let pinned = world.program.run(&["check", "patron-info"]).await.expect(0);
    assert!(
        !pinned.stderr.contains("not verified: encrypted"),
        "{}",
        pinned.stderr
    );
    let other = fingerprint.chars().rev().collect::<String>();
    world.set("SIERRA_DB_NAME", &format!("{name}?sslfingerprint={other}"));
    world
        .poll()
        .await
        .expect(3)
        .says("connecting to Sierra")
        .says(fingerprint);
}
