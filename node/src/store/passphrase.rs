//! Where the passphrase of a locked key comes from: a file that is named, a credential of the service manager, or the
//! person at the terminal. Never a flag or a variable, which other processes can read.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Names the file with the passphrase.
pub const VARIABLE: &str = "STARLING_PASSPHRASE_FILE";
/// Name of the credential that systemd's `LoadCredential=` gives to the service.
const CREDENTIAL: &str = "starling-passphrase";
/// Longest passphrase, bytes.
const BYTES_MAX: u64 = 1024;

/// The passphrase for the key file at `path`, or why there is none.
pub(super) fn obtain(path: &Path) -> Result<Zeroizing<String>, String> {
    match file() {
        Some(file) => read(&file),
        None if io::stdin().is_terminal() => ask(&format!("passphrase of {}: ", path.display())),
        None => Err(format!(
            "there is no terminal to ask for its passphrase; set {VARIABLE} to a file that holds it, or give the service the credential {CREDENTIAL}"
        )),
    }
}

/// A new passphrase, asked for twice; or why there is none.
pub fn choose() -> Result<Zeroizing<String>, String> {
    if let Some(file) = file() {
        return read(&file);
    }
    if !io::stdin().is_terminal() {
        return Err(format!("there is no terminal to ask at; set {VARIABLE} to a file that holds it"));
    }
    let first = ask("new passphrase: ")?;
    let second = ask("the same again: ")?;
    if *first == *second { Ok(first) } else { Err("the two differ".to_owned()) }
}

fn file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os(VARIABLE).filter(|file| !file.is_empty()) {
        return Some(file.into());
    }
    let credential = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    credential.exists().then_some(credential)
}

fn read(file: &Path) -> Result<Zeroizing<String>, String> {
    let wrong = |e: io::Error| format!("its passphrase could not be read from {}: {e}", file.display());
    let mut text = Zeroizing::new(String::with_capacity(BYTES_MAX as usize + 1));
    File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text)).map_err(wrong)?;
    checked(text, &file.display().to_string())
}

/// Asks at the terminal without showing what is typed.
fn ask(question: &str) -> Result<Zeroizing<String>, String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let wrong = |e: io::Error| format!("its passphrase could not be asked for: {e}");
    let stdin = io::stdin();
    eprint!("{question}");
    io::stderr().flush().map_err(wrong)?;
    let shown = tcgetattr(&stdin).map_err(|e| wrong(e.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|e| wrong(e.into()))?;
    let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX as usize));
    let typed = stdin.lock().take(BYTES_MAX + 1).read_line(&mut line);
    // Whatever came, the terminal shows again what is typed.
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &shown);
    eprintln!();
    typed.map_err(wrong)?;
    restored.map_err(|e| wrong(e.into()))?;
    checked(line, "the terminal")
}

fn checked(text: Zeroizing<String>, place: &str) -> Result<Zeroizing<String>, String> {
    let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    match text.len() as u64 {
        0 => Err(format!("the passphrase from {place} is empty")),
        1..BYTES_MAX => Ok(text),
        _ => Err(format!("the passphrase from {place} has more than {BYTES_MAX} bytes")),
    }
}
