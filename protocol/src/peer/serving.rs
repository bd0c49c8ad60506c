//! Answers to what other peers ask.

use crate::codec::{CONTROL_BYTES_MAX, encode};
use crate::exchange::serve::Reply;
use crate::id::{InboundId, PeerId};
use crate::peer::machine::Peer;
use crate::peer::output::{Outbox, Output};
use crate::time::Time;
use crate::wire::offence::Offence;
use crate::wire::open::Standing;
use crate::wire::request::{News, Request, Want};

impl Peer {
    pub(super) fn asked(
        &mut self,
        inbound: InboundId,
        from: PeerId,
        request: &Request,
        now: Time,
        out: &mut Outbox,
    ) {
        let reply = match (self.book.standing(&from, self.today(now)), &request.want) {
            (Standing::Member, Want::News) => Reply::Bytes(self.news().into()),
            (Standing::Member, want) if !matches!(want, Want::Charter) => self.serve.reply(from, want, now),
            // The charter is no secret: whoever was pointed to this node may read what it asks for.
            (Standing::Member | Standing::Unknown, Want::Charter) => {
                Reply::Bytes(self.config.charter.to_bytes().into())
            }
            (Standing::Refused(offence), _) => {
                self.offended(from, offence, now, out);
                Reply::Refused
            }
            _ => {
                self.offended(from, Offence::NotMember, now, out);
                Reply::Refused
            }
        };
        out.push(Output::Answer { inbound, reply });
    }

    /// Own hello and announcement first, then everybody's, as far as they fit one control message.
    fn news(&self) -> Vec<u8> {
        let own = self.own_news.iter().flatten();
        let others =
            self.table.iter().filter(|(_, e)| !e.has_left).flat_map(|(_, e)| e.news.iter().flatten());
        let mut room = CONTROL_BYTES_MAX - 64;
        let mut news = News::default();
        for message in own.chain(others) {
            let size = message.len() + 8;
            if size > room {
                break;
            }
            room -= size;
            news.messages.push(message.to_vec());
        }
        encode(&news)
    }
}
