use super::*;

const DECLARED: &[Setting] = &[
    Setting::integer("KINESIS_BATCH_SIZE", 1..=500, "Records a call.").default("500"),
    Setting::flag("IGNORE_CACHE", "Ignore the state."),
    Setting::text("SIERRA_DB_HOST", "Host.").secret().required(),
    Setting::integer("SIERRA_DB_PORT", 1..=65535, "Port.").default("1032"),
    Setting::text("SIERRA_DB_NAME", "Database.").default("iii"),
    Setting::text("SIERRA_DB_USER", "User.").secret(),
    Setting::text("SIERRA_DB_PASSWORD", "Password.").secret(),
    Setting::text("SIERRA_SSLMODE", "TLS.").default("require"),
    Setting::text("SIERRA_URL", "URL.").secret(),
    Setting::text("AWS_REGION", "Region.").default("us-east-1"),
    Setting::date("STARTING_DELETION_DATE", "Date.").secret(),
];

const SIERRA: Parts = Parts {
    url: "SIERRA_URL",
    scheme: "postgres",
    host: "SIERRA_DB_HOST",
    port: "SIERRA_DB_PORT",
    name: "SIERRA_DB_NAME",
    user: "SIERRA_DB_USER",
    password: "SIERRA_DB_PASSWORD",
    sslmode: "SIERRA_SSLMODE",
    percent_encoded: true,
};

fn settings(file: &str, environment: &[(&str, &str)], given: &[(&str, &str)]) -> Settings {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let sources = Sources {
        given: given
            .iter()
            .map(pair)
            .map(|(name, text)| (name, text, "--set".into()))
            .collect(),
        environment: environment.iter().map(pair).collect(),
        file: Some(SettingsFile::parse(file, "test.yaml").unwrap()),
    };
    let known: Vec<&str> = DECLARED.iter().map(|setting| setting.name).collect();
    Settings::gather(DECLARED, &known, &sources)
}

fn faults(settings: &Settings) -> String {
    settings.complete(()).unwrap_err().to_string()
}

#[test]
fn the_stronger_source_wins_and_an_empty_value_is_not_set() {
    let file = "KINESIS_BATCH_SIZE: 7\nIGNORE_CACHE: yes\nAWS_REGION: eu-west-1\n";
    let environment = [("KINESIS_BATCH_SIZE", "8"), ("AWS_REGION", "us-west-2")];
    let read = settings(file, &environment, &[]);
    assert_eq!(read.count("KINESIS_BATCH_SIZE"), 8);
    assert!(read.flag("IGNORE_CACHE"));
    assert_eq!(read.text("AWS_REGION").unwrap(), "eu-west-1");
    let read = settings(
        file,
        &environment,
        &[("KINESIS_BATCH_SIZE", "9"), ("AWS_REGION", "us-east-2")],
    );
    assert_eq!(read.count("KINESIS_BATCH_SIZE"), 9);
    assert_eq!(read.text("AWS_REGION").unwrap(), "us-east-2");
    let read = settings("KINESIS_BATCH_SIZE:\n", &[("KINESIS_BATCH_SIZE", " ")], &[]);
    assert_eq!(read.count("KINESIS_BATCH_SIZE"), 500);
    assert!(!read.is_given("KINESIS_BATCH_SIZE"));
}

#[test]
fn all_faults_are_reported_at_once_with_their_places_and_without_secrets() {
    let file = "PLAINTEXT_VARIABLES:\n  KINESIS_BATCH_SIZE: 600\n  SIERA_DB_HOST: db\n  STARTING_DELETION_DATE: hush\n";
    let read = settings(
        file,
        &[("IGNORE_CACHE", "perhaps")],
        &[("NONSENSE_OF_ALL_KINDS", "1")],
    );
    read.required("SIERRA_DB_HOST");
    assert_eq!(
        faults(&read),
        "6 settings to fix:\
        \n  NONSENSE_OF_ALL_KINDS (--set): unknown setting\
        \n  SIERA_DB_HOST (test.yaml, line 3): unknown setting; did you mean SIERRA_DB_HOST?\
        \n  IGNORE_CACHE (environment): `perhaps`: expected True or False\
        \n  KINESIS_BATCH_SIZE (test.yaml, line 2): `600`: expected a whole number from 1 to 500\
        \n  STARTING_DELETION_DATE (test.yaml, line 4): `****`: expected a date such as 2024-06-14\
        \n  SIERRA_DB_HOST: not set: Host."
    );
}

#[test]
fn a_database_url_is_assembled_from_its_parts() {
    let url = |file: &str| {
        let read = settings(file, &[], &[]);
        let url = database_url(&read, SIERRA);
        read.complete(url).map(|url| url.expose().to_owned())
    };
    let parts = "SIERRA_DB_HOST: db\nSIERRA_DB_USER: me%40here\nSIERRA_DB_PASSWORD: p%2Fw\n";
    assert_eq!(
        url(parts).unwrap(),
        "postgres://me%40here:p%2Fw@db:1032/iii?sslmode=require"
    );
    let named = format!("{parts}SIERRA_DB_NAME: iii?sslmode=disable\n");
    assert_eq!(
        url(&named).unwrap(),
        "postgres://me%40here:p%2Fw@db:1032/iii?sslmode=disable"
    );
    let given = "SIERRA_URL: postgres://me@db\nSIERRA_DB_PASSWORD: a:b\nSIERRA_SSLMODE: prefer\n";
    assert_eq!(
        url(given).unwrap(),
        "postgres://me:a%3Ab@db:1032/iii?sslmode=prefer"
    );
    assert_eq!(
        url("SIERRA_URL: sqlite:demo.db\n").unwrap(),
        "sqlite:demo.db"
    );
    let contradiction =
        url("SIERRA_URL: postgres://me:pw@db/iii\nSIERRA_DB_HOST: other\nSIERRA_DB_NAME: iii\n");
    assert_eq!(
        contradiction.unwrap_err().to_string(),
        "1 setting to fix:\n  SIERRA_DB_HOST (test.yaml, line 2) contradicts SIERRA_URL (test.yaml, line 1)"
    );
    let missing = url("SIERRA_DB_HOST: db\n").unwrap_err().to_string();
    assert!(missing.starts_with("2 settings to fix"), "{missing}");
}

#[test]
fn a_file_that_is_no_mapping_is_an_error() {
    for text in ["- a\n- b\n", "just text", "a: [", "A: 1\nA: 2\n"] {
        assert!(SettingsFile::parse(text, "test.yaml").is_err(), "{text}");
    }
    let read = settings(
        "KINESIS_BATCH_SIZE: {a: 1}\nENCRYPTED_VARIABLES: [AQ==]\nIGNORE_CACHE: on\nPLAINTEXT_VARIABLES:\n  IGNORE_CACHE: off\n",
        &[],
        &[],
    );
    for words in [
        "KINESIS_BATCH_SIZE (test.yaml, line 1): expected one value",
        "ENCRYPTED_VARIABLES (test.yaml): expected a mapping",
        "IGNORE_CACHE (test.yaml): it stands there twice",
    ] {
        assert!(faults(&read).contains(words), "{words}: {}", faults(&read));
    }
}
