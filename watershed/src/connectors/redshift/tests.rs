use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use url::{Url, form_urlencoded};

use super::*;
use crate::connectors::aws::AwsSettings;
use crate::connectors::aws_query::form_signature;
use crate::connectors::postgres::Tls;
use crate::connectors::postgres::fake_server::{real, server};
use crate::connectors::sql::{Database, Protocol, Role};

const DESCRIBED: &str = r#"<DescribeClustersResponse xmlns="http://redshift.amazonaws.com/doc/2012-12-01/">
  <DescribeClustersResult>
    <Clusters>
      <Cluster>
        <ClusterIdentifier>examplecluster</ClusterIdentifier>
        <ClusterStatus>available</ClusterStatus>
        <Endpoint>
          <Port>5439</Port>
          <Address>examplecluster.cobaosmlqshn.us-east-1.redshift.amazonaws.com</Address>
        </Endpoint>
        <ClusterNodes><member><NodeRole>SHARED</NodeRole></member></ClusterNodes>
      </Cluster>
    </Clusters>
  </DescribeClustersResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</DescribeClustersResponse>"#;

const GRANTED: &str = r#"<GetClusterCredentialsResponse xmlns="http://redshift.amazonaws.com/doc/2012-12-01/">
  <GetClusterCredentialsResult>
    <Expiration>2016-12-08T21:12:53.000Z</Expiration>
    <DbUser>IAM:exampleuser</DbUser>
    <DbPassword>AMAFUyyuros/QjxPTtgzcsuQsqzIasdzJEN04aCtWDzXx1O9d6UmpkBtvEeqFly/EvAaCaS0amp1&lt;</DbPassword>
  </GetClusterCredentialsResult>
</GetClusterCredentialsResponse>"#;

#[test]
fn host_port_user_and_password_are_read_from_the_answers() {
    let (host, port) = address("describing", DESCRIBED).unwrap();
    assert_eq!(
        host,
        "examplecluster.cobaosmlqshn.us-east-1.redshift.amazonaws.com"
    );
    assert_eq!(port, 5439);
    let login = login("asking", GRANTED).unwrap();
    assert_eq!(login.db_user, "IAM:exampleuser");
    assert!(login.db_password.starts_with("AMAFUyyuros/"));
    assert!(login.db_password.ends_with("amp1<"));
    assert_eq!(login.expiration.to_string(), "2016-12-08T21:12:53Z");
}

#[test]
fn a_cluster_that_is_absent_or_not_ready_is_no_endpoint() {
    let start = DESCRIBED.find("<Clusters>").unwrap();
    let end = DESCRIBED.find("</DescribeClustersResult>").unwrap();
    let with = |clusters: &str| format!("{}{clusters}{}", &DESCRIBED[..start], &DESCRIBED[end..]);
    for none in ["", "<Clusters/>", "<Clusters> </Clusters>"] {
        let error = address("describing", &with(none)).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");
    }
    for endpoint in ["", "<Endpoint/>", "<Endpoint><Port>5439</Port></Endpoint>"] {
        let making = format!(
            "<Clusters><Cluster><ClusterStatus>creating</ClusterStatus>{endpoint}</Cluster></Clusters>"
        );
        let error = address("describing", &with(&making)).unwrap_err();
        assert_eq!(error.remedy(), Remedy::TryAgain);
        assert!(error.in_one_line().contains("`creating`"), "{error:?}");
    }
}

#[test]
fn no_error_holds_a_password_or_a_token() {
    let spoilt = GRANTED.replace("2016-12-08T21", "not a time");
    let error = login("asking", &spoilt).err().unwrap();
    assert_eq!(
        format!("{error:?}"),
        "TryAgain: asking: the answer is not that of Redshift's API"
    );

    // AWS repeats the signed request, in which the session's token is.
    let repeated = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
        <Message>The request signature we calculated does not match.\n\nThe Canonical String for \
        this request should have been\n'POST\nx-amz-security-token:hunter2'</Message></Error></ErrorResponse>";
    let error = refusal(
        "asking",
        "DescribeClusters",
        StatusCode::FORBIDDEN,
        repeated,
    );
    assert_eq!(
        format!("{error:?}"),
        "FixAccess: asking: SignatureDoesNotMatch: The request signature we calculated does not match."
    );

    let endpoint = Endpoint {
        host: "cluster.example".into(),
        port: 5439,
        user: "IAM:reader".into(),
        password: Secret::new("hunter2"),
        expires: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(
        format!("{endpoint:?}"),
        "Endpoint { expires: 1970-01-01T00:00:00Z, .. }"
    );
}

#[test]
fn the_code_of_an_error_decides_what_its_reader_should_do() {
    let error = |code: &str| {
        let xml = format!(
            "<ErrorResponse xmlns=\"http://redshift.amazonaws.com/doc/2012-12-01/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        );
        refusal("asking", "DescribeClusters", StatusCode::BAD_REQUEST, &xml)
    };
    for (code, remedy) in [
        ("AccessDenied", Remedy::FixAccess),
        ("ClusterNotFound", Remedy::FixAccess),
        ("ExpiredToken", Remedy::FixAccess),
        ("InvalidClientTokenId", Remedy::FixAccess),
        ("UnsupportedOperation", Remedy::FixSettings),
        ("InvalidParameterValue", Remedy::FixSettings),
        ("Throttling", Remedy::TryAgain),
        ("InternalFailure", Remedy::TryAgain),
    ] {
        assert_eq!(error(code).remedy(), remedy, "{code}");
    }
    let hint = error("AccessDenied");
    assert!(hint.hint().unwrap().contains("redshift:DescribeClusters"));

    for (status, remedy) in [
        (StatusCode::FORBIDDEN, Remedy::FixAccess),
        (StatusCode::TOO_MANY_REQUESTS, Remedy::TryAgain),
        (StatusCode::BAD_GATEWAY, Remedy::TryAgain),
        (StatusCode::NOT_FOUND, Remedy::FixSettings),
    ] {
        let error = refusal("asking", "DescribeClusters", status, "<html>nginx</html>");
        assert_eq!(error.remedy(), remedy, "{status}");
    }
}

/// The signatures are those that AWS's own botocore makes of the same requests.
#[test]
fn requests_are_signed_as_aws_s_own_client_does() {
    let body = "Action=DescribeClusters&Version=2012-12-01&ClusterIdentifier=a+b%2Fc";
    // 2026-01-02T03:04:05Z
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    for (token, endpoint, signed) in [
        (
            None,
            "https://redshift.us-east-1.amazonaws.com/",
            "179044327fb26d1b877d1ea949de5facdae8a62408c79e273916c6bf64ae9641",
        ),
        (
            None,
            "http://127.0.0.1:4566/",
            "7b34ce6782cf4d88080886a9e56ece96576c59a32de0b85e6c6c89fedfbc516e",
        ),
        (
            Some("the-token"),
            "https://redshift.us-east-1.amazonaws.com/",
            "69339c7c5013b2461181014050ebc912b313d2749316db7dad84b7874e13ac6d",
        ),
    ] {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        );
        let endpoint = Url::parse(endpoint).unwrap();
        let headers =
            form_signature(&credentials, "us-east-1", "redshift", &endpoint, body, now).unwrap();
        let headers: BTreeMap<_, _> = headers.into_iter().collect();
        assert_eq!(headers["x-amz-date"], "20260102T030405Z");
        assert_eq!(
            headers.get("x-amz-security-token").map(String::as_str),
            token
        );
        let authorization = &headers["authorization"];
        assert!(
            authorization.ends_with(&format!("Signature={signed}")),
            "{authorization}"
        );
    }
}

async fn aws(endpoint: &str) -> Aws {
    let settings = AwsSettings {
        region: "us-east-1".into(),
        keys: Some((Secret::new("test"), Secret::new("test"))),
        endpoints: BTreeMap::from([("redshift".into(), endpoint.into())]),
        ..AwsSettings::default()
    };
    Aws::new(settings).await
}

fn policy() -> Policy {
    Policy::within(Duration::from_secs(30)).tries(5)
}

#[tokio::test]
async fn a_cluster_s_credentials_are_asked_for_and_an_unknown_one_is_no_access() {
    let aws = aws(&server("WATERSHED_TEST_AWS")).await;
    let cluster = format!("cluster-{}", std::process::id());
    let making = IamLogin::new(&aws, &cluster, "dev", "reader");
    let http = Http::without_redirects(CALL).unwrap();
    making
        .call(
            &http,
            "CreateCluster",
            &[
                ("ClusterIdentifier", &cluster),
                ("NodeType", "dc2.large"),
                ("MasterUsername", "admin"),
                ("MasterUserPassword", "Passw0rd"),
                ("Port", "5440"),
            ],
        )
        .await
        .unwrap();

    let endpoint = credentials(&aws, &cluster, "dev", "reader", &policy())
        .await
        .unwrap();
    assert!(endpoint.host.starts_with(&cluster), "{}", endpoint.host);
    assert_eq!(endpoint.port, 5440);
    assert_eq!(endpoint.user, "IAM:reader");
    assert!(!endpoint.password.expose().is_empty());
    let left = endpoint.expires.duration_since(Timestamp::now());
    assert!((800..=900).contains(&left.as_secs()), "{left}");

    let error = credentials(&aws, "nowhere", "dev", "reader", &policy())
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_eq!(
        error.in_one_line(),
        "calling Redshift's DescribeClusters for the cluster nowhere: ClusterNotFound: Cluster nowhere not found."
    );
}

/// What the fake of Redshift's API hands out, and what it was asked.
#[derive(Clone, Default)]
struct Fake {
    password: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

/// Answers with the real PostgreSQL for a cluster.
async fn fake(State(fake): State<Fake>, headers: HeaderMap, body: String) -> String {
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=test/"),
        "{authorization}"
    );
    let form: BTreeMap<String, String> = form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    fake.asked.lock().unwrap().push(form.clone());
    if form["Action"] == "DescribeClusters" {
        let (address, _) = real();
        let (host, port) = address.split_once(':').unwrap();
        return format!(
            "<DescribeClustersResponse><DescribeClustersResult><Clusters><Cluster><Endpoint><Address>{host}</Address><Port>{port}</Port></Endpoint></Cluster></Clusters></DescribeClustersResult></DescribeClustersResponse>"
        );
    }
    let password = fake.password.lock().unwrap();
    let expiration = Timestamp::now();
    format!(
        "<GetClusterCredentialsResponse><GetClusterCredentialsResult><DbUser>IAM:{}</DbUser><DbPassword>{password}</DbPassword><Expiration>{expiration}</Expiration></GetClusterCredentialsResult></GetClusterCredentialsResponse>",
        form["DbUser"]
    )
}

#[tokio::test]
async fn a_connection_that_is_made_again_gets_credentials_of_its_own() {
    let api = Fake::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(fake)).with_state(api.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let role = Role {
        name: "Redshift",
        schema: None,
        protocol: Protocol::Simple,
        tls: Tls::Require,
    };
    let admin = format!("{}/postgres", server("WATERSHED_TEST_POSTGRES"));
    let extended = Role {
        protocol: Protocol::Extended,
        ..role
    };
    let admin = Database::open(&Secret::new(admin), extended, policy()).unwrap();
    let user = format!("reader{}", std::process::id());
    let sql = async |sql: String| admin.query(&sql, &[]).await.unwrap();

    sql(format!("CREATE ROLE \"IAM:{user}\" LOGIN PASSWORD 'first'")).await;
    *api.password.lock().unwrap() = "first".into();
    let aws = aws(&endpoint).await;
    let database =
        Database::redshift_by_iam(&aws, "examplecluster", "postgres", &user, role, policy());
    let who = async || {
        let rows = database.query("SELECT current_user AS name", &[]).await;
        rows.unwrap()[0].text("name").unwrap().unwrap()
    };
    assert_eq!(who().await, format!("IAM:{user}"));
    assert_eq!(who().await, format!("IAM:{user}"));
    assert_eq!(api.asked.lock().unwrap().len(), 2);

    // The first password is of no use any more, and the connection is lost.
    sql(format!("ALTER ROLE \"IAM:{user}\" PASSWORD 'second'")).await;
    *api.password.lock().unwrap() = "second".into();
    sql(format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'IAM:{user}'"
    ))
    .await;
    assert_eq!(who().await, format!("IAM:{user}"));

    drop(database);
    let asked = api.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0]["Action"], "DescribeClusters");
    assert_eq!(asked[0]["ClusterIdentifier"], "examplecluster");
    for asked in [&asked[1], &asked[3]] {
        let expected = [
            ("Action", "GetClusterCredentials"),
            ("AutoCreate", "false"),
            ("ClusterIdentifier", "examplecluster"),
            ("DbName", "postgres"),
            ("DbUser", &user),
            ("Version", "2012-12-01"),
        ];
        let asked: Vec<_> = asked.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(asked, expected);
    }
    sql(format!("DROP ROLE \"IAM:{user}\"")).await;
}
