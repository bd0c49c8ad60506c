//! The swarm as a picture: everybody on a ring, what was pulled as arrows, and the map of models.
//!
//! Everybody stands on the ring alike, the node that tells included: no peer is special.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::board::figures::{percent, short};
use crate::board::plot::round;
use crate::board::story::{Person, Story};
use crate::telemetry::escape;

/// Nodes drawn; a ring of more cannot be read.
const DRAWN_MAX: usize = 40;
/// Colours; with more nodes the same come again, dashed.
const COLOURS: usize = 6;
/// An arrow fades when its last pull is this many outer steps back.
const FRESH_STEPS: u32 = 3;

const WIDTH: f64 = 660.0;
const HEIGHT: f64 = 450.0;

/// Who has which colour, in a stable order.
#[derive(Debug)]
pub struct Cast<'a> {
    members: Vec<(&'a str, &'a Person)>,
    slots: BTreeMap<&'a str, usize>,
}

impl<'a> Cast<'a> {
    /// Everybody of a story, by organization, name and key.
    pub fn of(story: &'a Story) -> Self {
        let mut members: Vec<_> = story.people().iter().map(|(key, p)| (key.as_str(), p)).collect();
        members.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
        let slots = members.iter().enumerate().map(|(slot, (key, _))| (*key, slot)).collect();
        Self { members, slots }
    }

    /// Keys and what is known of them.
    pub fn members(&self) -> &[(&'a str, &'a Person)] {
        &self.members
    }

    /// Class of a node's colour, with dashes where colours repeat.
    pub fn class(&self, key: &str) -> String {
        let slot = self.slots.get(key).copied().unwrap_or(0);
        let dashed = if slot / COLOURS % 2 == 1 { " dashed" } else { "" };
        format!("c{}{dashed}", slot % COLOURS)
    }

    fn slot(&self, key: &str) -> usize {
        self.slots.get(key).copied().unwrap_or(0) % COLOURS
    }

    /// A node's name for people.
    pub fn name(&self, key: &str) -> String {
        let person = self.slots.get(key).map(|slot| self.members[*slot].1);
        match person {
            Some(person) if !person.name.is_empty() => escape::line(&person.name),
            _ => short(key),
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    angle: f64,
}

/// Draws the ring. `me` is the node whose page it is.
pub fn ring(story: &Story, cast: &Cast<'_>, me: Option<&str>, outer_steps: u32) -> Markup {
    let drawn = &cast.members[..cast.members.len().min(DRAWN_MAX)];
    let n = drawn.len().max(1);
    let radius = if n <= 12 { 30.0 } else { 17.0 };
    let (rx, ry) = (if n <= 12 { 190.0 } else { 240.0 }, 150.0);
    let place = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / n as f64 - std::f64::consts::FRAC_PI_2;
        Place { x: WIDTH / 2.0 + rx * angle.cos(), y: HEIGHT / 2.0 + ry * angle.sin(), angle }
    };
    let places: BTreeMap<&str, Place> =
        drawn.iter().enumerate().map(|(i, (key, _))| (*key, place(i))).collect();
    let most = story.pulls().values().map(|p| p.shards).max().unwrap_or(1).max(1) as f64;
    let newest = story.pulls().values().map(|p| p.last_outer).max().unwrap_or(0);
    html! {
        svg #ring.swarm viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
            aria-label=(format!("{} nodes and what they pulled from each other", cast.members.len())) {
            defs {
                @for slot in 0..COLOURS {
                    marker id=(format!("tip{slot}")) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"
                        markerUnits="userSpaceOnUse" orient="auto" { path class=(format!("tip c{slot}")) d="M0 0.6L8 4L0 7.4z" {} }
                }
            }
            @if let Some(from) = me.and_then(|me| places.get(me)) {
                @for (key, person) in drawn {
                    @if person.is_linked && Some(*key) != me {
                        @let to = places[key];
                        line.link x1=(round(from.x)) y1=(round(from.y)) x2=(round(to.x)) y2=(round(to.y)) {}
                    }
                }
            }
            @for ((from, to), pulls) in story.pulls() {
                @if let (Some(a), Some(b)) = (places.get(from.as_str()), places.get(to.as_str())) {
                    @let faded = if pulls.last_outer + FRESH_STEPS <= newest { " faded" } else { "" };
                    path class=(format!("pull c{}{faded}", cast.slot(from))) d=(arc(*a, *b, radius))
                        data-pull=(format!("{from} {to}"))
                        stroke-width=(round(1.4 + 3.6 * pulls.shards as f64 / most))
                        marker-end=(format!("url(#tip{})", cast.slot(from))) {
                        title {
                            (cast.name(to)) " pulled " (pulls.updates) " updates (" (pulls.shards) " shards) from "
                            (cast.name(from)) ", the last at outer step " (pulls.last_outer)
                        }
                    }
                }
            }
            @for (key, person) in drawn {
                (node(cast, key, person, places[key], radius, Some(*key) == me, outer_steps, n))
            }
        }
        @if cast.members.len() > DRAWN_MAX {
            p.soft { "The first " (DRAWN_MAX) " of " (cast.members.len()) " nodes." }
        }
    }
}

/// A curve from one node's rim to another's, bent to the right, so that both directions can be told apart.
fn arc(a: Place, b: Place, radius: f64) -> String {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length = dx.hypot(dy).max(1.0);
    let bend = 0.09 * length;
    let (cx, cy) =
        (f64::midpoint(a.x, b.x) - dy / length * bend, f64::midpoint(a.y, b.y) + dx / length * bend);
    let rim = |from: Place, gap: f64| {
        let (ux, uy) = (cx - from.x, cy - from.y);
        let size = ux.hypot(uy).max(1.0);
        (from.x + ux / size * gap, from.y + uy / size * gap)
    };
    let (start, end) = (rim(a, radius + 4.0), rim(b, radius + 7.0));
    let [x1, y1, cx, cy, x2, y2] = [start.0, start.1, cx, cy, end.0, end.1].map(round);
    format!("M{x1} {y1}Q{cx} {cy} {x2} {y2}")
}

#[allow(clippy::too_many_arguments)] // one call site; a struct would only rename the same values
fn node(
    cast: &Cast<'_>,
    key: &str,
    person: &Person,
    at: Place,
    radius: f64,
    is_me: bool,
    outer_steps: u32,
    n: usize,
) -> Markup {
    let (cos, sin) = (at.angle.cos(), at.angle.sin());
    let anchor = if cos > 0.3 {
        "start"
    } else if cos < -0.3 {
        "end"
    } else {
        "middle"
    };
    let gap = radius + 13.0;
    // Two lines of words: beside the node, or where the ring turns above and below it.
    let (x, y) = match anchor {
        "middle" if sin < 0.0 => (at.x, at.y - gap - 12.0),
        "middle" => (at.x, at.y + gap + 10.0),
        _ => (at.x + cos.signum() * gap, at.y - 2.0),
    };
    let share =
        if outer_steps > 0 { 100.0 * f64::from(person.outer_step) / f64::from(outer_steps) } else { 0.0 };
    let state = if person.is_banned {
        " banned"
    } else if person.is_linked {
        ""
    } else {
        " away"
    };
    let me = if is_me { " me" } else { "" };
    html! {
        g class=(format!("node c{}{state}{me}", cast.slot(key))) data-key=(key) {
            title {
                (cast.name(key)) ", " (escape::line(&person.organization)) ": outer step " (person.outer_step)
                @if person.is_banned { ", shut out" } @else if !person.is_linked { ", no link" }
            }
            circle.disc cx=(round(at.x)) cy=(round(at.y)) r=(radius) {}
            circle.rim cx=(round(at.x)) cy=(round(at.y)) r=(radius) {}
            circle.done cx=(round(at.x)) cy=(round(at.y)) r=(radius) pathLength="100"
                stroke-dasharray=(format!("{} 100", round(share.clamp(0.0, 100.0))))
                transform=(format!("rotate(-90 {} {})", round(at.x), round(at.y))) {}
            text.step x=(round(at.x)) y=(round(at.y + 5.5)) text-anchor="middle" { (person.outer_step) }
            @if n <= 24 {
                text.name x=(round(x)) y=(round(y)) text-anchor=(anchor) { (clip(&cast.name(key), 18)) }
                @if n <= 12 {
                    text.who x=(round(x)) y=(round(y + 17.0)) text-anchor=(anchor) {
                        @if person.is_banned { "shut out" }
                        @else { (clip(&escape::line(&person.organization), 24)) }
                    }
                }
            }
        }
    }
}

fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Draws the map of models; `None` before distances are known.
pub fn map(story: &Story, cast: &Cast<'_>) -> Option<Markup> {
    const SIZE: f64 = 300.0;
    let spots = story.spots();
    let reach = spots.values().map(|s| s.x.hypot(s.y)).fold(0.0, f64::max);
    if spots.len() < 2 || reach <= 0.0 {
        return None;
    }
    let scale = SIZE * 0.37 / reach;
    // A bar of a round length, at most half the map.
    let bar = 10f64.powf((SIZE * 0.5 / scale).log10().floor());
    let bar = [5.0, 2.0, 1.0].into_iter().map(|m| m * bar).find(|b| b * scale <= SIZE * 0.5).unwrap_or(bar);
    let middle = SIZE / 2.0;
    Some(html! {
        svg.map viewBox=(format!("0 0 {SIZE} {SIZE}")) role="img" aria-label="Map of models by the distance of their parameters" {
            circle.halo cx=(middle) cy=(middle) r=(round(reach * scale)) {}
            path.cross d=(format!("M{} {middle}H{}M{middle} {}V{}", middle - 5.0, middle + 5.0, middle - 5.0, middle + 5.0)) {}
            @for (key, spot) in spots {
                @let (x, y) = (middle + spot.x * scale, middle - spot.y * scale);
                circle class=(format!("spot {}", cast.class(key))) cx=(round(x)) cy=(round(y)) r="8" { title { (cast.name(key)) } }
                text.label x=(round(x)) y=(round(y - 13.0)) text-anchor="middle" { (clip(&cast.name(key), 12)) }
            }
            path.bar d=(format!("M14 {}v6h{}v-6", SIZE - 18.0, round(bar * scale))) {}
            text.tick x="14" y=(SIZE - 24.0) { (percent(bar)) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::line::{EventLine, TopologyLine};

    fn story(n: usize) -> Story {
        let mut story = Story::default();
        for i in 0..n {
            let person = Person { name: format!("<b>{i}"), is_linked: true, ..Person::default() };
            story.introduce(&format!("{i:04x}"), person);
            let line = EventLine {
                event: "pulled".into(),
                step: Some(1),
                peer: Some(format!("{:04x}", (i + 1) % n.max(1))),
                shards: Some(3),
                ..EventLine::default()
            };
            story.event(&format!("{i:04x}"), &line);
        }
        story
    }

    #[test]
    fn swarms_of_any_size_are_drawn_with_finite_numbers_and_escaped_names() {
        for n in [0, 1, 2, 5, 13, 100] {
            let story = story(n);
            let cast = Cast::of(&story);
            let svg = ring(&story, &cast, Some("0000"), 10).into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("<b>"), "{n}: {svg}");
            assert!(svg.matches("class=\"node ").count() <= DRAWN_MAX);
        }
    }

    #[test]
    fn the_map_appears_once_distances_are_known_and_differ() {
        let mut story = story(3);
        let peers: Vec<String> = (0..3).map(|i| format!("{i:04x}")).collect();
        let line = |distances| TopologyLine { peers: peers.clone(), distances, ..TopologyLine::default() };
        assert!(map(&story, &Cast::of(&story)).is_none());
        story.topology(&line(vec![0.0, 0.0, 0.0]));
        assert!(map(&story, &Cast::of(&story)).is_none());
        story.topology(&line(vec![0.01, 0.02, 0.015]));
        let svg = map(&story, &Cast::of(&story)).unwrap().into_string();
        assert!(svg.contains("1.0 %") && !svg.contains("NaN"), "{svg}");
    }
}
