//! What /proc says: of the process trees that are measured, and of the machine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Clock ticks per second: 100 on every Linux that runs this.
const TICKS: f64 = 100.0;

/// Seconds of processor (user and system) that a process and all below it have used.
pub fn cpu_seconds(root: u32) -> f64 {
    let all = stats();
    tree(root, &all).iter().filter_map(|id| all.get(id)).map(|stat| stat.own).sum::<u64>() as f64
        / TICKS
}

/// The same for this process, with all that it started and waited for.
pub fn own_cpu_seconds() -> f64 {
    let all = stats();
    let ticks: u64 = tree(std::process::id(), &all)
        .iter()
        .filter_map(|id| all.get(id))
        .map(|stat| stat.own + stat.reaped)
        .sum();
    ticks as f64 / TICKS
}

/// Seconds of processor that anybody has used since the machine started.
pub fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest is in user already.
    let busy: u64 = numbers
        .iter()
        .take(8)
        .enumerate()
        .filter(|(i, _)| !matches!(i, 3 | 4))
        .map(|(_, n)| n)
        .sum();
    busy as f64 / TICKS
}

/// Resident memory of a process and all below it, in KiB. Pages that several of them share count
/// once (the sum of the proportional sizes), where the kernel tells.
pub fn resident_kib(root: u32) -> u64 {
    tree(root, &stats()).into_iter().map(resident_of).sum()
}

fn resident_of(id: u32) -> u64 {
    field(&format!("/proc/{id}/smaps_rollup"), "Pss:")
        .or_else(|| field(&format!("/proc/{id}/status"), "VmRSS:"))
        .unwrap_or(0)
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many were running or waiting to run, over the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// Bytes of all files below a directory, in KiB.
pub fn files_kib(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => files_kib(&entry.path()),
            Ok(data) => data.len().div_ceil(4096) * 4,
            Err(_) => 0,
        })
        .sum()
}

/// `model, cores, memory, kernel`.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal:").unwrap_or(0) / (1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, {memory} GiB, Linux {}", kernel.trim())
}

struct Stat {
    parent: u32,
    own: u64,
    reaped: u64,
}

fn stats() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id: u32| Some((id, stat(id)?)))
        .collect()
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows may not.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    Some(Stat {
        parent: number(1)? as u32,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

fn tree(root: u32, all: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut ids = vec![root];
    let mut at = 0;
    while let Some(&id) = ids.get(at) {
        ids.extend(all.iter().filter(|(_, stat)| stat.parent == id).map(|(child, _)| *child));
        at += 1;
    }
    ids
}
