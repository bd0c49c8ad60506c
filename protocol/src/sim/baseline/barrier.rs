//! The barrier of all-reduce: everybody waits for everybody, then all hold the same.

use crate::sim::baseline::combine::Said;
use crate::sim::baseline::queue::Happening;
use crate::sim::baseline::swarm::Baseline;
use crate::sim::scenario::Algorithm;
use crate::time::Span;

impl Baseline {
    /// Ends the barrier when everybody who is up has come to it.
    pub(super) fn meet(&mut self) {
        if self.scenario.run.algorithm != Algorithm::AllReduce {
            return;
        }
        let up = || self.nodes.iter().filter(|n| n.is_up);
        if up().count() > 0 && up().all(|n| n.is_waiting) {
            let step = self.together + 1;
            let payload = self.payload(step) as f64;
            let rate = self.scenario.network.bandwidth_mbit / 8.0;
            let transfer = if rate > 0.0 { 2.0 * payload / rate } else { 0.0 };
            let latency = f64::from(self.scenario.network.latency_ms[1]) * 2e3;
            self.plan(self.now + Span((transfer + latency) as u64), u32::MAX, Happening::Together(step));
        }
    }

    pub(super) fn mix_together(&mut self, step: u32) {
        if step != self.together + 1 {
            return;
        }
        self.together = step;
        let there: Vec<u32> = (0..self.nodes.len() as u32)
            .filter(|i| self.nodes[*i as usize].is_up && self.nodes[*i as usize].is_waiting)
            .collect();
        let said: Vec<Said> = there.iter().map(|i| self.say(*i, step)).collect();
        let len = self.genesis.len();
        let mut mean = vec![0.0f64; len];
        for said in &said {
            mean.iter_mut()
                .zip(said.working.iter())
                .for_each(|(m, x)| *m += f64::from(*x) / there.len() as f64);
        }
        let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
        let share = (there.len() - 1) as f64 / there.len() as f64;
        self.bytes += (2.0 * share * self.payload(step) as f64 * there.len() as f64) as u64;
        let is_settling = step > self.scenario.run.outer_steps;
        // One state for all: who came back holds what the others hold.
        let Some(&first) = there.first() else { return };
        let (mut agreed, mut outer) = {
            let oldest = there.iter().copied().min_by_key(|i| self.nodes[*i as usize].life).unwrap_or(first);
            (self.nodes[oldest as usize].agreed.clone(), self.nodes[oldest as usize].outer.clone())
        };
        if is_settling {
            agreed.copy_from_slice(&mean);
        } else {
            outer.step(0..len, &mut agreed, &mean);
        }
        for i in there {
            let node = &mut self.nodes[i as usize];
            node.agreed.clone_from(&agreed);
            node.outer.clone_from(&outer);
            node.is_waiting = false;
            node.step = step;
            self.train(i);
        }
    }
}
