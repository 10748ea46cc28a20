//! PostgreSQL with TLS: what each `sslmode` accepts.

use std::fs;
use std::path::Path;

use db::{Error, Pool, PoolConfig, with_conn};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use testkit::database::Server;
use testkit::{Authority, requirement};

#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    ssl: bool,
    #[diesel(sql_type = Nullable<Text>)]
    client_dn: Option<String>,
}

async fn session(url: &str) -> Result<Session, Error> {
    let pool = Pool::new(&url.parse()?, &PoolConfig::default())?;
    Ok(with_conn!(pool, conn => {
        let query = diesel::sql_query("select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()");
        query.get_result(&mut conn).await?
    }))
}

#[tokio::test]
async fn each_mode_accepts_what_libpq_accepts() {
    let (ours, strange) = (Authority::new("ours"), Authority::new("strange"));
    let [certificate, key] = ours.issue("client", "postgres");
    // The certificate is for `localhost`; 127.0.0.1 is another name.
    let server = Server::start_with(&["ssl=on", "ssl_ca_file=ours.pem", "ssl_cert_file=server.pem"], |data| {
        ours.issue_in(data, "server", "localhost");
        fs::copy(ours.certificate(), data.join("ours.pem")).map(drop)
    });
    let server = match server {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let other_name = server.url("postgres");
    let right_name = other_name.replace("127.0.0.1", "localhost");
    let [ours, strange] = [&ours, &strange].map(|it| format!("sslrootcert={}", it.certificate().display()));
    let mutual = format!("sslmode=verify-full&{ours}&sslcert={}&sslkey={}", certificate.display(), key.display());

    for (url, parameters, encrypted) in [
        (&other_name, String::new(), Some(true)),
        (&other_name, "sslmode=disable".to_owned(), Some(false)),
        (&other_name, "sslmode=prefer".to_owned(), Some(true)),
        (&other_name, "sslmode=require".to_owned(), Some(true)),
        (&other_name, format!("sslmode=require&{ours}"), Some(true)),
        (&other_name, format!("sslmode=require&{strange}"), None),
        (&other_name, format!("sslmode=verify-ca&{ours}"), Some(true)),
        (&other_name, format!("sslmode=verify-ca&{strange}"), None),
        (&right_name, format!("sslmode=verify-full&{ours}"), Some(true)),
        (&other_name, format!("sslmode=verify-full&{ours}"), None),
        (&right_name, format!("sslmode=verify-full&{strange}"), None),
        (&right_name, "sslmode=verify-full".to_owned(), None),
        (&right_name, mutual.clone(), Some(true)),
    ] {
        let seen = session(&format!("{url}?{parameters}")).await;
        match (&seen, encrypted) {
            (Ok(session), Some(encrypted)) => assert_eq!(session.ssl, encrypted, "{parameters}"),
            (Err(Error::Connect(_)), None) => {}
            _ => panic!("{parameters}: {seen:?}"),
        }
    }
    let subject = session(&format!("{right_name}?{mutual}")).await.unwrap().client_dn;
    assert_eq!(subject.as_deref(), Some("/CN=postgres"));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = match Server::start(&[]) {
        Ok(server) => server,
        Err(why) => return requirement::missing("postgres", why),
    };
    let url = server.url("postgres");
    assert!(!session(&format!("{url}?sslmode=prefer")).await.unwrap().ssl);
    assert!(matches!(session(&format!("{url}?sslmode=require")).await, Err(Error::Connect(_))));
}

#[tokio::test]
async fn a_missing_certificate_is_named_at_the_start() {
    let url = "postgres://127.0.0.1/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem".parse().unwrap();
    let Err(Error::Tls { path, .. }) = Pool::new(&url, &PoolConfig::default()) else { panic!("accepted") };
    assert_eq!(path, Path::new("/nowhere/ca.pem"));
}
