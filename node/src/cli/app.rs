//! The verbs of `starling`, and how the process begins and ends.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::output::{Format, Output};
use crate::cli::{
    audit, backup, bench, charter, charter_new, config_show, data, distill, doctor, eval, fairness, fuse,
    health, influence, init, invite, join, key, membership, metrics, model, monitor, observe, peers, predict,
    replay, report, revoke, run, shell, sim, status, steer, sweep, testnet, top, train, tune,
};
use crate::control::order::Verb as Order;

/// Equal nodes train one model together: no server, signed updates, private data stays home.
#[derive(Debug, Parser)]
#[command(name = "starling", version, propagate_version = true, arg_required_else_help = true)]
struct App {
    /// How results are printed
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Runs a whole swarm on this machine and compares it with training alone
    Testnet(testnet::Args),
    /// Makes an identity and a commented settings file
    Init(init::Args),
    /// Shows or exports this node's identity
    #[command(subcommand)]
    Key(key::Command),
    /// Makes, checks, signs or shows the cooperation agreement
    #[command(subcommand)]
    Charter(CharterVerb),
    /// Invites an organization to a run
    Invite(invite::Args),
    /// Joins a run by an invitation
    Join(join::Args),
    /// Revokes a member
    Revoke(revoke::Args),
    /// Looks at data, or makes some
    #[command(subcommand)]
    Data(data::Command),
    /// Runs a node
    Run(run::Args),
    /// Watches a run without training
    Observe(observe::Args),
    /// Writes a page about a run, in one file
    Report(report::Args),
    /// Works with the numbers of a run
    #[command(subcommand)]
    Metrics(metrics::Command),
    /// Shows what a node is doing
    Status(status::Args),
    /// Shows a node in the terminal as it changes
    Top(top::Args),
    /// Shows whom a node knows
    Peers(peers::Args),
    /// Tells by its exit code whether a node is well
    Health(health::Args),
    /// Has a running node finish its outer step and wait
    Pause(steer::Args),
    /// Has a paused node go on
    Resume(steer::Args),
    /// Has a running node say farewell, save and end
    Leave(steer::Args),
    /// Checks a node before it starts
    Doctor(doctor::Args),
    /// Keeps what a node cannot make again
    #[command(subcommand)]
    Backup(backup::Command),
    /// Looks after the model of a stopped node
    #[command(subcommand)]
    Model(model::Command),
    /// Shows the settings
    #[command(subcommand)]
    Config(config_show::Command),
    /// Trains under a charter's terms without a network, for comparison
    Train(train::Args),
    /// Searches settings of training on one node's data
    Tune(tune::Args),
    /// Scores a model on data
    Eval(eval::Args),
    /// Uses a model on text
    Predict(predict::Args),
    /// Watches a stream of texts for a surge of one class
    Monitor(monitor::Args),
    /// Distils a model into smaller ones
    Distill(distill::Args),
    /// Fuses models into one that decides with all of them
    Fuse(fuse::Args),
    /// Simulates a swarm under virtual time, with faults and liars
    Sim(sim::Args),
    /// Simulates a grid of scenarios, several seeds each
    Sweep(sweep::Args),
    /// Prints what a shell needs to complete commands
    Completions(shell::Completions),
    /// Writes manual pages
    Man(shell::Man),
    /// Accounts for a model, and for what nodes did
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Lives a recorded run of a node again and compares what it did
    Replay(replay::Args),
    /// Runs work that other systems are measured on too
    #[command(subcommand)]
    Bench(bench::Command),
}

#[derive(Debug, clap::Subcommand)]
enum AuditVerb {
    /// Measures how much the answers about nodes depend on their relations
    Influence(influence::Args),
    /// Compares how a model treats groups of examples
    Fairness(fairness::Args),
    /// Measures whether a model tells who was in its training data
    Privacy(membership::Args),
    #[command(flatten)]
    Records(audit::Command),
}

#[derive(Debug, clap::Subcommand)]
enum CharterVerb {
    /// Makes a charter and the folder that travels with it
    New(charter_new::Args),
    #[command(flatten)]
    File(charter::Command),
}

/// Reads the command line, does what it says, answers the exit code.
pub fn main() -> ExitCode {
    let app = match App::try_parse() {
        Ok(app) => app,
        Err(error) => {
            // A closed pipe is no reason for a second error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    crate::testnet::launch::end_with_parent();
    let output = Output::new(app.format);
    let result = match &app.verb {
        Verb::Testnet(args) => testnet::run(args, &output),
        Verb::Init(args) => init::run(args, &output),
        Verb::Key(command) => key::run(command, &output),
        Verb::Charter(CharterVerb::New(args)) => charter_new::run(args, &output),
        Verb::Charter(CharterVerb::File(command)) => charter::run(command, &output),
        Verb::Invite(args) => invite::run(args, &output),
        Verb::Join(args) => join::run(args, &output),
        Verb::Revoke(args) => revoke::run(args, &output),
        Verb::Data(command) => data::run(command, &output),
        Verb::Run(args) => run::run(args, &output),
        Verb::Observe(args) => observe::run(args, &output),
        Verb::Report(args) => report::run(args, &output),
        Verb::Metrics(command) => metrics::run(command, &output),
        Verb::Status(args) => status::run(args, &output),
        Verb::Top(args) => top::run(args, &output),
        Verb::Peers(args) => peers::run(args, &output),
        Verb::Pause(args) => steer::run(args, &Order::Pause, &output),
        Verb::Resume(args) => steer::run(args, &Order::Resume, &output),
        Verb::Leave(args) => steer::run(args, &Order::Leave, &output),
        Verb::Doctor(args) => doctor::run(args, &output),
        Verb::Config(command) => config_show::run(command, &output),
        Verb::Train(args) => train::run(args, &output),
        Verb::Tune(args) => tune::run(args, &output),
        Verb::Eval(args) => eval::run(args, &output),
        Verb::Monitor(args) => monitor::run(args, &output),
        Verb::Predict(args) => predict::run(args, &output),
        Verb::Distill(args) => distill::run(args, &output),
        Verb::Fuse(args) => fuse::run(args, &output),
        Verb::Audit(AuditVerb::Influence(args)) => influence::run(args, &output),
        Verb::Audit(AuditVerb::Fairness(args)) => fairness::run(args, &output),
        Verb::Audit(AuditVerb::Privacy(args)) => membership::run(args, &output),
        Verb::Sim(args) => sim::run(args, &output),
        Verb::Sweep(args) => sweep::run(args, &output),
        Verb::Audit(AuditVerb::Records(command)) => audit::run(command, &output),
        Verb::Health(args) => health::run(args, &output),
        Verb::Backup(command) => backup::run(command, &output),
        Verb::Model(command) => model::run(command, &output),
        Verb::Completions(args) => shell::completions(args, App::command(), &output),
        Verb::Man(args) => shell::man(args, App::command(), &output),
        Verb::Replay(args) => replay::run(args, &output),
        Verb::Bench(command) => bench::run(command, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = output.failed(&error);
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}
