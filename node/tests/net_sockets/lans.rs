//! Private networks behind routers, in network namespaces of the kernel: for tests that run as root and are skipped
//! elsewhere.
//!
//! A namespace is a thread's: whoever is in one makes its sockets there. A node runs on a thread of its own, with a
//! runtime that has no other.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd;
use std::process::Command;
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A wide network, `203.0.113.0/24`, and private networks `10.0.0.0/24` behind routers that let in only what was called
/// from inside. Everything is gone when this is dropped.
pub(crate) struct Lans {
    prefix: String,
    names: Vec<String>,
}

impl Lans {
    /// The wide network with a machine at 203.0.113.1, and so many private ones, each with a machine at 10.0.0.2 behind
    /// a router at 203.0.113.11, 203.0.113.12 and so on. An error says what this machine lacks.
    pub(crate) fn new(test: &str, count: usize) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        let prefix = format!("sw{}{test}", std::process::id());
        let mut lans = Self { prefix, names: Vec::new() };
        let wide = lans.namespace("w")?;
        ip(&["-n", &wide, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &wide, "addr", "add", "203.0.113.1/24", "dev", "br0"])?;
        up(&wide, "br0")?;
        for i in 0..count {
            let router = lans.namespace(&format!("r{i}"))?;
            let inside = lans.namespace(&format!("n{i}"))?;
            let port = format!("p{i}");
            ip(&[
                "-n", &wide, "link", "add", &port, "type", "veth", "peer", "name", "wan", "netns", &router,
            ])?;
            ip(&["-n", &wide, "link", "set", &port, "master", "br0"])?;
            up(&wide, &port)?;
            ip(&[
                "-n", &router, "link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", &inside,
            ])?;
            ip(&["-n", &router, "addr", "add", &format!("203.0.113.{}/24", 11 + i), "dev", "wan"])?;
            ip(&["-n", &router, "addr", "add", "10.0.0.1/24", "dev", "lan"])?;
            ip(&["-n", &inside, "addr", "add", "10.0.0.2/24", "dev", "eth0"])?;
            up(&router, "wan")?;
            up(&router, "lan")?;
            up(&inside, "eth0")?;
            ip(&["-n", &inside, "route", "add", "default", "via", "10.0.0.1"])?;
            within(&router, "sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"])?;
            for rule in ROUTER {
                within(&router, "nft", &rule.split(' ').collect::<Vec<_>>())?;
            }
        }
        Ok(lans)
    }

    fn namespace(&mut self, name: &str) -> Result<String, String> {
        let name = self.name(name);
        ip(&["netns", "add", &name])?;
        self.names.push(name.clone());
        up(&name, "lo")?;
        Ok(name)
    }

    fn name(&self, short: &str) -> String {
        format!("{}{short}", self.prefix)
    }

    /// Runs something on the machine of the wide network.
    pub(crate) fn on_wide<F: Future>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> JoinHandle<F::Output>
    where
        F::Output: Send + 'static,
    {
        inside(&self.name("w"), work)
    }

    /// Runs something on the machine of a private network.
    pub(crate) fn on_private<F: Future>(
        &self,
        lan: usize,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> JoinHandle<F::Output>
    where
        F::Output: Send + 'static,
    {
        inside(&self.name(&format!("n{lan}")), work)
    }
}

/// What a home router does: gives its own address to what goes out, and lets in answers only.
const ROUTER: [&str; 7] = [
    "add table ip home",
    "add chain ip home leaving { type nat hook postrouting priority 100 ; }",
    "add rule ip home leaving oifname wan masquerade",
    "add chain ip home through { type filter hook forward priority 0 ; }",
    "add rule ip home through iifname wan ct state new drop",
    "add chain ip home arriving { type filter hook input priority 0 ; }",
    "add rule ip home arriving iifname wan ct state new drop",
];

fn inside<F: Future>(namespace: &str, work: impl FnOnce() -> F + Send + 'static) -> JoinHandle<F::Output>
where
    F::Output: Send + 'static,
{
    let namespace = File::open(format!("/var/run/netns/{namespace}")).expect("it was made");
    std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter a namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(work())
    })
}

impl Drop for Lans {
    fn drop(&mut self) {
        for name in &self.names {
            // Best effort: the test has its result.
            drop(ip(&["netns", "del", name]));
        }
    }
}

fn up(namespace: &str, device: &str) -> Result<(), String> {
    ip(&["-n", namespace, "link", "set", device, "up"])
}

fn ip(args: &[&str]) -> Result<(), String> {
    command("ip", args)
}

fn within(namespace: &str, program: &str, args: &[&str]) -> Result<(), String> {
    command("ip", &[&["netns", "exec", namespace, program], args].concat())
}

fn command(program: &str, args: &[&str]) -> Result<(), String> {
    let ended = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(format!("{program} {}: {}", args.join(" "), said.trim()))
}
