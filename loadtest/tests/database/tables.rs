//! Tables as they are after a run that went well, in a database of their own.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};

use loadtest::{
    database::Database,
    ledger::{Ledger, Place, Receipt},
    plan::{ClientIndex, Kind, Plan, Request, Settings},
};
use schemas::{ClientId, PartitionCount, Timestamp};
use service_kit::Secret;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, types::Uuid};

/// The tables, what was sent, and what was promised of it.
pub struct Tables {
    pub plan: Plan,
    pub ledger: Ledger,
    pub kept: u64,
    url: String,
    name: String,
    connection: PgConnection,
}

impl Tables {
    /// A run of 300 requests, each answered as planned, and each message stored.
    pub async fn after_a_run(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server_url();
        let name =
            format!("loadtest_{name}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&server).await.unwrap();
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::migrate!("../migrations").run(&mut connection).await.unwrap();
        let (plan, ledger) = (plan(), Ledger::default());
        let mut tables = Self { plan, ledger, kept: 0, url, name, connection };
        tables.fill().await;
        tables
    }

    pub fn database(&self) -> Database {
        Database::new(&Secret::from(self.url.clone())).unwrap()
    }

    pub async fn execute(&mut self, sql: &'static str) {
        self.connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    /// A message of the first client that is not there yet.
    pub fn new_message(&self) -> (ClientId, String) {
        (self.plan.client(ClientIndex(0)).client_id().unwrap(), "another".to_owned())
    }

    /// Stores it, without everything around it.
    pub async fn insert_message(&mut self, client_id: ClientId, id: &str) {
        let (id, place) = (id.to_owned(), Place { partition: 0, offset: 9_999 });
        self.message(client_id.as_uuid(), &id, "words", place).await;
    }

    pub async fn drop_database(self) {
        self.connection.close().await.unwrap();
        let mut admin = PgConnection::connect(&server_url()).await.unwrap();
        admin.execute(AssertSqlSafe(format!("drop database {} with (force)", self.name))).await.unwrap();
    }

    async fn fill(&mut self) {
        self.execute("insert into topics (topic_ref, cluster_id, name, topic_id, partition_count) values (1, 'c', 't', gen_random_uuid(), 12)").await;
        let mut next_offsets = HashMap::<i32, i64>::new();
        let mut clients = HashMap::<ClientIndex, Uuid>::new();
        for request in self.plan.requests().collect::<Vec<Request>>() {
            if let Kind::Invalid(_) = request.kind {
                self.ledger.set(request.index, Receipt::Refused);
                continue;
            }
            let client_id = self.plan.client(request.client).client_id().unwrap();
            let partition = client_id.partition(PartitionCount::new(12).unwrap()).0;
            let next = next_offsets.entry(partition).or_default();
            let place = Place { partition, offset: *next };
            *next += 1;
            self.ledger.set(request.index, Receipt::Kept { at_once: true, place: Some(place) });
            if request.kind != Kind::Valid {
                continue;
            }
            if clients.insert(request.client, client_id.as_uuid()).is_none() {
                self.client(request.client, client_id.as_uuid(), place).await;
            }
            let (id, text) = (self.plan.external_message_id(&request), self.plan.text(&request));
            self.message(client_id.as_uuid(), &id, &text, place).await;
            self.kept += 1;
        }
    }

    async fn client(&mut self, index: ClientIndex, id: Uuid, place: Place) {
        let client = self.plan.client(index);
        sqlx::query("insert into clients values ($1, $2, $3, now())")
            .bind(id)
            .bind(client.external_client_id)
            .bind(client.address)
            .execute(&mut self.connection)
            .await
            .unwrap();
        sqlx::query("insert into client_aliases select $1, now(), $2, 1, $3, unnest($4::text[])")
            .bind(place.offset)
            .bind(place.partition)
            .bind(id)
            .bind(client.aliases)
            .execute(&mut self.connection)
            .await
            .unwrap();
        sqlx::query("insert into dialogs (client_id, id, opened_at, topic_ref, partition, opened_offset) values ($1, $1, now(), 1, $2, $3)")
            .bind(id)
            .bind(place.partition)
            .bind(place.offset)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    /// The dialog has its client's id.
    async fn message(&mut self, client_id: Uuid, id: &str, text: &str, place: Place) {
        sqlx::query(
            "insert into messages values ($1, now(), now(), null, $2, 1, $3, $3, '\\x00', $4, null, $5)",
        )
        .bind(place.offset)
        .bind(place.partition)
        .bind(client_id)
        .bind(id)
        .bind(text)
        .execute(&mut self.connection)
        .await
        .unwrap();
    }
}

fn plan() -> Plan {
    let mix = "valid=80,duplicate=10,invalid=10".parse().unwrap();
    let usual = Settings::usual(Timestamp::parse("2026-11-24T12:00:00Z").unwrap());
    let settings = Settings { seed: 5, messages: 300, clients: 40, sources: 5, addresses: 20, mix, ..usual };
    Plan::new(settings).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "where `make test` says the database is")]
fn server_url() -> String {
    std::env::var("TELEX_TEST_DATABASE_URL").unwrap()
}
