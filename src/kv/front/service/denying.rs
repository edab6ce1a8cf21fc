//! Who a client is when it comes, and what it is told where its user may not do what it asks for.

use std::borrow::Cow;
use std::rc::Rc;

use super::served::NextRequest;
use super::{KvService, ServedClient, Turn};
use crate::kv::commands::client::is_client_command;
use crate::kv::commands::table::{self, Command};
use crate::kv::errors;
use crate::kv::jobs::job::Job;
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::acl_log;
use crate::kv::sessions::acting;
use crate::kv::sessions::session::{Awaits, Session};
use crate::kv::shared::runtime::Knob;
use crate::kv::table::flags::Flags;
use crate::kv::users::{Context, Denial, Denied};
use crate::resp::reply::Reply;
use crate::resp::request::RequestParser;
use crate::server::{Effects, LogLimit, Outbox, Peer, Step};

impl KvService {
    pub(super) fn welcome(&mut self, peer: &Peer, effects: &mut Effects) -> ServedClient {
        acting::look(&mut self.worker, None, effects);
        let mut session = Session::new(peer, self.worker.clock.now_ms());
        self.begin_acting(&mut session);
        self.worker.clients.insert(peer.number, Rc::clone(&session.client));
        let is_protected =
            self.worker.shared.runtime.read(Knob::ProtectedMode) != 0 && !self.worker.users.needs_login();
        if is_protected && !peer.is_local {
            self.worker.statistics.add(Counted::DeniedTotal, 1);
            static DENIED: LogLimit = LogLimit::new();
            if let Some(left_out) = DENIED.admit() {
                let peer = &peer.address;
                tracing::warn!(%peer, left_out, "a client from elsewhere was denied: there is no password, and EMPTYSERVER_PROTECTED_MODE is on");
            }
            effects.write(peer.id, errors::DENIED_LINE.to_vec());
            effects.close(peer.id);
        }
        ServedClient { session, parser: RequestParser::new(), next: NextRequest::Unparsed }
    }

    /// Answers what did not run with an error. A transaction that is being queued can't run any more then.
    pub(super) fn refuse(
        &mut self,
        session: &mut Session,
        command: Option<&'static Command>,
        args: &[&[u8]],
        text: Cow<'static, str>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Turn {
        session.client.last_command.set(command.map_or("NULL", |command| command.name));
        if let Some(command) = command {
            self.worker.statistics.rejected(table::number(command));
            session.client.tracking.command_begins(is_client_command(command));
        }
        session.transaction.fail();
        match command {
            Some(command) if command.flags.has(Flags::EXECUTES) => {
                session.end_transaction();
                self.reply(session, &Reply::Error(errors::exec_abort_because_of(&text)), out);
                self.feed_monitors(session, command, args, Some(out), effects);
            }
            _ => self.reply(session, &Reply::Error(text), out),
        }
        session.command_ended();
        Turn::Consumed
    }

    /// A new client acts as `default`; or as the user that its certificate names, if it is to be so and that user is there and on.
    fn begin_acting(&self, session: &mut Session) {
        let users = &self.worker.users;
        let named = || {
            let name = session.client.secured.as_ref()?.name.as_deref()?;
            users.users().named(name.as_bytes()).filter(|user| user.is_on).cloned()
        };
        let by_certificate = if self.worker.shared.settings.logs_in_by_certificate { named() } else { None };
        // A password that is set later is asked of those who come later.
        session.is_authenticated = by_certificate.is_some() || !users.needs_login();
        let user = by_certificate.unwrap_or_else(|| acting::default_user(&self.worker));
        session.client.act_as(&user, users.version());
    }

    /// Remembers it for ACL LOG. Returns the error.
    pub(super) fn deny(
        &mut self,
        session: &Session,
        command: &'static Command,
        denied: Denied,
        args: &[&[u8]],
    ) -> Cow<'static, str> {
        let context = if session.transaction.is_open() { Context::Multi } else { Context::TopLevel };
        let user = session.client.user.borrow().clone();
        // The line of the client tells what it asks for now.
        session.client.last_command.set(command.name);
        let denial = Denial::of(denied, &user, command.name, args, context);
        acl_log::remember(&mut self.worker, &session.client, denial);
        denied.text(&user.name, command.name)
    }

    /// A call that EXEC runs here: its user may have lost the right since it was queued.
    pub(super) fn deny_in_exec(
        &mut self,
        session: &Session,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Option<Cow<'static, str>> {
        if !session.client.is_restricted.get() {
            return None;
        }
        let user = session.client.user.borrow().clone();
        let denied = user.check(command, args).err()?;
        let denial = Denial::of(denied, &user, command.name, args, Context::Multi);
        acl_log::remember(&mut self.worker, &session.client, denial);
        Some(denied.text_at_exec().into())
    }
}

impl Session {
    /// A client whose user is gone goes too, once it has its answer.
    pub(super) fn or_close(&self, step: Step<Job>) -> Step<Job> {
        let is_answered = matches!(self.awaits, Awaits::Request) && !matches!(step, Step::Submit(..));
        if self.client.is_doomed.get() && is_answered { Step::Close } else { step }
    }
}
