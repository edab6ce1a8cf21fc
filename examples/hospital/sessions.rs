//! Sessions: keys that end by themselves. `session:ACCOUNT:HASH` is a hash; the cookie has the account and the secret of which HASH is made,
//! so nobody who reads the store, or a backup, can take a session over.

use redis::pipe;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock;
use crate::fields::is_number;
use crate::rights::Role;
use crate::store::Store;
use crate::web::{Account, App, Problem};

/// 256 bits, as text.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has random bytes");
    hexadecimal(&bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of(account: &str, secret: &str) -> String {
    format!("session:{account}:{}", hexadecimal(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref()))
}

/// The value of the cookie.
pub(crate) async fn begin(app: &App, account: &str, stamp: &str) -> Result<String, Problem> {
    let secret = random();
    let key = key_of(account, &secret);
    let fields = [("csrf", random()), ("stamp", stamp.to_owned())];
    let mut commands = pipe();
    commands.atomic().hset_multiple(&key, &fields).ignore().expire(&key, app.session_seconds).ignore();
    app.store.ask_all::<()>(&commands).await?;
    Ok(format!("{account}.{secret}"))
}

/// Whose session it is, and the token of his forms. A session is renewed while it is used, and over when the password was changed.
pub(crate) async fn find(app: &App, cookie: &str) -> Result<Option<(Account, String)>, Problem> {
    let Some((id, secret)) = cookie.split_once('.').filter(|(id, _)| is_number(id)) else { return Ok(None) };
    let key = key_of(id, secret);
    let mut commands = pipe();
    commands.hmget(&key, &["csrf", "stamp"]).ttl(&key).hmget(format!("account:{id}"), &["login", "role", "_stamp"]);
    type Found = (Vec<Option<String>>, i64, Vec<Option<String>>);
    let (session, seconds_left, account): Found = app.store.ask_all(&commands).await?;
    let ([Some(csrf), Some(stamp)], [Some(login), Some(role), Some(account_stamp)]) = (&session[..], &account[..])
    else {
        return Ok(None);
    };
    let Some(role) = Role::named(role).filter(|_| stamp == account_stamp) else { return Ok(None) };
    // Not at each look: it is a write.
    if seconds_left < app.session_seconds / 2 {
        app.store.ask::<()>(&redis::Cmd::expire(&key, app.session_seconds)).await?;
    }
    Ok(Some((Account { id: id.to_owned(), login: login.clone(), role }, csrf.clone())))
}

pub(crate) async fn end(app: &App, cookie: &str) -> Result<(), Problem> {
    let Some((id, secret)) = cookie.split_once('.') else { return Ok(()) };
    app.store.ask(&redis::Cmd::del(key_of(id, secret))).await
}

/// The audit trail tells which sessions ended by themselves: the service says so with an event for each key whose time has passed.
pub(crate) async fn watch_ends(store: Store, mut pushes: UnboundedReceiver<redis::PushInfo>) {
    let again = std::time::Duration::from_secs(60);
    loop {
        if let Err(problem) = store.listen_to_expiries().await {
            tracing::warn!(?problem, "sessions end unheard");
        }
        while let Ok(Some(push)) = tokio::time::timeout(again, pushes.recv()).await {
            if push.kind == redis::PushKind::Disconnection {
                break;
            }
            let Some(id) = push.data.last().and_then(account_of) else { continue };
            let login: Option<String> = store.ask(&redis::Cmd::hget(format!("account:{id}"), "login")).await.ok();
            let note = json!({ "kind": "account", "id": id, "action": "session_expired",
                "who": login.unwrap_or_default(), "now": clock::now_ms() });
            if let Err(problem) = store.call("note", &note).await {
                tracing::warn!(?problem, "the end of a session is not in the audit trail");
            }
        }
    }
}

/// Of the name of a key that ended.
fn account_of(key: &redis::Value) -> Option<String> {
    let key: String = redis::from_redis_value(key.clone()).ok()?;
    key.strip_prefix("session:")?.split_once(':').map(|(account, _)| account.to_owned())
}
