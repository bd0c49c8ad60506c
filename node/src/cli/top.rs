//! `starling top`: a node in a terminal, as it changes.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, List, Paragraph, Row, Sparkline, Table};

use crate::board::figures::{bytes, duration, percent, score, time_of_day};
use crate::board::history;
use crate::board::story::{LOSS, Story};
use crate::board::swarm::Cast;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::status::{Liveness, liveness};
use crate::store::status::{self, NodeStatus, PEERS_FILE, PeerStatus, STATUS_FILE};
use crate::telemetry::escape;

/// Time between two looks at the status; at the records, which cost more, five times as long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows a node in the terminal until q, Esc or Ctrl-C.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// What is shown.
#[derive(Debug, Default)]
struct Seen {
    status: NodeStatus,
    peers: Vec<PeerStatus>,
    story: Story,
    is_running: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    if !output.is_text() || !std::io::stdout().is_terminal() {
        let why = "it redraws a terminal, and standard output is none";
        return Err(CliError::new(ExitCode::Usage, "top cannot be shown here", why, "use `starling status`"));
    }
    let dir = args.place.state_dir();
    // Fails before the screen is taken when there is no node at all.
    let mut seen = look(&dir, None)?;
    let mut told = Instant::now();
    let failed = |e| CliError::failed("could not draw on the terminal", e);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, &seen)) {
            break Err(failed(error));
        }
        match wants_to_leave(LOOK_EVERY) {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(failed(error)),
        }
        let story = (told.elapsed() < 5 * LOOK_EVERY).then(|| std::mem::take(&mut seen.story));
        if story.is_none() {
            told = Instant::now();
        }
        match look(&dir, story) {
            Ok(new) => seen = new,
            Err(error) => break Err(error),
        }
    };
    ratatui::restore();
    result
}

/// Waits for a key as long as the next look is away; true for one that leaves.
fn wants_to_leave(wait: Duration) -> std::io::Result<bool> {
    let until = Instant::now() + wait;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let is_interrupt =
                    key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}

fn look(dir: &Path, story: Option<Story>) -> Result<Seen, CliError> {
    let found = status::read::<NodeStatus>(&dir.join(STATUS_FILE))?;
    let is_running = liveness(dir, found.age)? == Liveness::Running;
    // The peers and the records are there as soon as the status is; without them the rest is still worth showing.
    let peers = status::read::<Vec<PeerStatus>>(&dir.join(PEERS_FILE)).map(|p| p.value).unwrap_or_default();
    let story = story.unwrap_or_else(|| history::tell(dir).map(|told| told.story).unwrap_or_default());
    Ok(Seen { status: found.value, peers, story, is_running })
}

fn draw(frame: &mut Frame<'_>, seen: &Seen) {
    let [head, gauge, middle, curve] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(4),
        Constraint::Length(6),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(headline(seen)), head);
    draw_gauge(frame, gauge, &seen.status);
    let [peers, happenings] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(middle);
    draw_peers(frame, peers, &seen.peers);
    draw_happenings(frame, happenings, &seen.story);
    draw_loss(frame, curve, seen);
}

fn headline(seen: &Seen) -> Vec<Line<'static>> {
    let s = &seen.status;
    let state = if seen.is_running {
        Span::from(escape::line(&s.state)).green().bold()
    } else {
        Span::from("not running").red().bold()
    };
    let or_dash = |value: Option<f64>, write: fn(f64) -> String| value.map_or("-".to_owned(), write);
    vec![
        Line::from(vec![
            Span::from(escape::line(&s.name)).bold(),
            Span::from(format!("  {}  ", escape::line(&s.organization))),
            state,
            Span::from(format!("  up {}", duration(s.uptime_seconds))).dim(),
        ]),
        Line::from(format!(
            "score {}   loss {}   consensus distance {}   refused {}",
            or_dash(s.score_last, score),
            or_dash(s.loss_last, score),
            or_dash(s.consensus_distance_relative, percent),
            s.rejected_shards
        )),
        Line::from(format!(
            "peers {}   sent {}   received {}   {}",
            s.peers,
            bytes(s.bytes_sent),
            bytes(s.bytes_received),
            s.dashboard.as_deref().map(escape::line).unwrap_or_default()
        )),
    ]
}

fn draw_gauge(frame: &mut Frame<'_>, area: Rect, s: &NodeStatus) {
    let share = if s.outer_steps == 0 { 0.0 } else { f64::from(s.outer_step) / f64::from(s.outer_steps) };
    let label = format!("outer step {} of {}, {}", s.outer_step, s.outer_steps, escape::line(&s.stage));
    let gauge = Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label).gauge_style(Style::new().blue());
    frame.render_widget(gauge, area);
}

fn draw_peers(frame: &mut Frame<'_>, area: Rect, peers: &[PeerStatus]) {
    let rows = peers.iter().map(|p| {
        let link = match (p.is_banned, p.is_linked) {
            (true, _) => "banned",
            (_, true) => "linked",
            _ => "-",
        };
        let row = Row::new([
            escape::line(&p.name),
            link.to_owned(),
            p.outer_step.map_or("-".to_owned(), |s| s.to_string()),
            p.score.map_or("-".to_owned(), score),
            format!("{:.0}", p.behaviour),
            bytes(p.bytes_pulled),
            bytes(p.bytes_served),
        ]);
        if p.is_banned { row.red() } else { row }
    });
    let widths = [
        Constraint::Min(10),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    let head = Row::new(["peer", "link", "outer", "score", "behaviour", "pulled", "served"]).dim();
    frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered().title("peers")), area);
}

fn draw_happenings(frame: &mut Frame<'_>, area: Rect, story: &Story) {
    let cast = Cast::of(story);
    let lines = story.happenings().iter().rev().map(|h| {
        let peer = h.peer.as_ref().map(|peer| format!(" {}", cast.name(peer))).unwrap_or_default();
        let line = Line::from(format!("{} {}{peer}", time_of_day(h.t), escape::line(&h.words)));
        if h.is_trouble { line.red() } else { line }
    });
    frame.render_widget(List::new(lines).block(Block::bordered().title("what happened")), area);
}

fn draw_loss(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let own = seen.story.curves(LOSS).find(|(who, _)| *who == seen.status.peer_id);
    let points = own.map(|(_, curve)| curve.points()).unwrap_or_default();
    let width = usize::from(area.width.saturating_sub(2)).max(1);
    let newest = &points[points.len().saturating_sub(width)..];
    let highest = newest.iter().map(|p| p.1).fold(f64::MIN_POSITIVE, f64::max);
    let data: Vec<u64> = newest.iter().map(|p| (1000.0 * p.1.max(0.0) / highest) as u64).collect();
    let title =
        format!("training loss, at most {}", if newest.is_empty() { "-".to_owned() } else { score(highest) });
    let line = Sparkline::default().data(&data).max(1000).style(Style::new().cyan());
    frame.render_widget(line.block(Block::bordered().title(title)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn shown(width: u16, height: u16, seen: &Seen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, seen)).unwrap();
        terminal.backend().to_string()
    }

    fn sample() -> Seen {
        let mut seen = Seen { is_running: true, ..Seen::default() };
        seen.status = NodeStatus {
            peer_id: "aa".into(),
            name: "ada".into(),
            state: "training".into(),
            stage: "train".into(),
            outer_step: 6,
            outer_steps: 24,
            ..NodeStatus::default()
        };
        let name = "bela\u{1b}[2J\nforged";
        seen.peers = vec![PeerStatus {
            name: name.into(),
            is_linked: true,
            outer_step: Some(5),
            ..PeerStatus::default()
        }];
        for step in 1..7 {
            let line = serde_json::json!({"event":"trained","step":step,"inner_steps":8,"loss":3.0 / f64::from(step)});
            seen.story.event("aa", &serde_json::from_value(line).unwrap());
        }
        let line = serde_json::json!({"event":"alone","step":2});
        seen.story.event("aa", &serde_json::from_value(line).unwrap());
        seen
    }

    #[test]
    fn the_screen_shows_state_peers_and_curve_and_no_terminal_code_of_a_peer() {
        let screen = shown(110, 24, &sample());
        for part in [
            "ada",
            "training",
            "outer step 6 of 24",
            "bela\\u{1b}",
            "0 peers: training alone",
            "at most 3.000",
        ] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
        assert!(!screen.contains('\u{1b}'));
    }

    #[test]
    fn any_size_of_terminal_and_an_empty_node_are_drawn() {
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            shown(width, height, &sample());
            shown(width, height, &Seen::default());
        }
    }
}
