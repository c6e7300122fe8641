//! Behind a real PgBouncer: a processor says at once that it does not belong there; readers may.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use dev_env::{
    debian::PGBOUNCER,
    ports::Port,
    process::{Server, Spec},
    programs::Programs,
    workspace::Workspace,
};
use nix::{sys::signal::Signal, unistd::geteuid};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::harness::{Telex, block_on, keep, message, wait_for};

/// A PgBouncer in front of the test's database.
struct Pooler {
    _server: Server,
    programs: Programs,
}

impl Pooler {
    fn start(telex: &Telex, mode: &str, ignored: &str) -> Self {
        let pgbouncer = PGBOUNCER.ensure(&Workspace::find().unwrap()).unwrap();
        let (_, place) = telex.programs.database_url.rsplit_once('@').unwrap();
        let (server, database) = place.rsplit_once('/').unwrap();
        let (host, port) = server.rsplit_once(':').unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, Port::Free.pick().unwrap()));
        let file = telex.directory.join(format!("pgbouncer-{mode}.ini"));
        let configuration = format!(
            "[databases]\n{database} = host={host} port={port} dbname={database} user=telex\n\
             [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 2\nignore_startup_parameters = extra_float_digits{ignored}\n",
            listen.ip(),
            listen.port()
        );
        std::fs::write(&file, configuration).unwrap();
        let mut command = pgbouncer.command("usr/sbin/pgbouncer");
        if geteuid().is_root() {
            // It refuses to be root.
            command.args(["-u", "nobody"]);
        }
        command.arg(&file);
        let directory = &telex.directory;
        let spec = Spec { name: "pgbouncer", directory, command, stop_signal: Signal::SIGINT };
        let server = Server::spawn(spec).unwrap();
        wait_for("pgbouncer", Duration::from_secs(20), || std::net::TcpStream::connect(listen).is_ok());
        let database_url = format!("postgres://telex@{listen}/{database}");
        Self { _server: server, programs: Programs { database_url, ..telex.programs.clone() } }
    }
}

#[test]
fn a_processor_behind_a_pooler_that_breaks_sessions_ends_and_says_why() {
    let mut telex = Telex::new();
    for (mode, ignored) in [
        ("transaction", ""),
        // As it is often set so that a client connects at all: then the deadlines are lost in silence.
        ("transaction", ", options"),
        ("session", ", options"),
    ] {
        let pooler = Pooler::start(&telex, mode, ignored);
        let processor = telex.processor_of(&pooler.programs);
        wait_for("the end of the processor", Duration::from_secs(20), || !processor.server.is_running());
        let log = processor.server.log_text();
        assert!(log.contains("pooler that does not keep the session"), "{mode}{ignored}: {log}");
    }
}

#[test]
fn a_reader_may_ask_through_a_pooler_in_transaction_mode() {
    let (telex, api, _processor) = Telex::at_work();
    keep(&api, &message("pooled", "1", "Hello"));
    telex.wait_until_applied();
    let pooler = Pooler::start(&telex, "transaction", "");
    let ask = "select text from dialog_messages where external_client_id = 'pooled'".to_owned();
    let texts: Vec<String> = block_on(async {
        let mut texts = Vec::new();
        for _ in 0..3 {
            let mut connection = PgConnection::connect(&pooler.programs.database_url).await.unwrap();
            // The simple protocol, as psql speaks it: nothing is prepared.
            let rows = sqlx::raw_sql(AssertSqlSafe(ask.clone())).fetch_all(&mut connection).await.unwrap();
            texts.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        texts
    });
    assert_eq!(texts, ["Hello"; 3]);
}
