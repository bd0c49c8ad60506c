//! The table of who helps whom: by how much each peer's update lowers a node's loss on its own validation data.

use maud::{Markup, html};

use crate::board::figures::short;
use crate::board::story::Story;
use crate::board::swarm::Cast;

/// Most nodes whose table is shown: it grows with the square.
const SHOWN_MAX: usize = 16;

/// The table, where anybody has looked.
pub fn table(story: &Story, cast: &Cast<'_>) -> Markup {
    let members: Vec<&str> = cast.members().iter().map(|(key, _)| *key).collect();
    let of = |node: &str, peer: &str| story.affinity(node, &short(peer));
    let tellers: Vec<&str> =
        members.iter().copied().filter(|node| members.iter().any(|peer| of(node, peer).is_some())).collect();
    if tellers.is_empty() || members.len() > SHOWN_MAX {
        return html! {};
    }
    html! {
        section #affinity {
            h2 { "Affinity" }
            p.soft {
                "By how much an update of the node above a column, mixed in alone, lowers the loss of the node of the row on its own validation data."
            }
            div.wide tabindex="0" role="region" aria-label="Affinity" {
                table {
                    thead { tr {
                        th.text scope="col" { "learns" }
                        @for peer in &members { th scope="col" { (cast.name(peer)) } }
                    } }
                    tbody {
                        @for node in tellers {
                            tr {
                                th.text scope="row" { span class=(format!("stroke {}", cast.class(node))) {} (cast.name(node)) }
                                @for peer in &members {
                                    td { (of(node, peer).map_or_else(|| "-".to_owned(), |x| format!("{x:+.4}"))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
