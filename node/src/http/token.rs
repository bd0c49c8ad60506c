//! The bearer token for everything that changes the node.
//!
//! It lies in the node's directory for its owner only: whoever may read it could stop the node anyway.

use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::http::error::HttpError;

/// Name of the file in a node's directory.
pub const TOKEN_FILE: &str = "http.token";
const DIGITS: usize = 64;

/// A secret of 32 random bytes, as hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Reads the token of a directory, or makes one.
    ///
    /// # Errors
    /// When the file cannot be read or made, can be read by others, or holds something else.
    pub fn of_dir(dir: &Path) -> Result<Self, HttpError> {
        let path = dir.join(TOKEN_FILE);
        let failed = |source| HttpError::TokenFile { path: path.clone(), source };
        match Self::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(failed),
        }
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HttpError::Exposed { path, mode });
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let text = text.trim();
        if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(HttpError::Token { path });
        }
        Ok(Self(text.to_owned()))
    }

    fn create(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut bytes = [0u8; DIGITS / 2];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let mut text = String::with_capacity(DIGITS);
        for byte in bytes {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        file.write_all(format!("{text}\n").as_bytes())?;
        Ok(Self(text))
    }

    /// Whether an `Authorization` header carries this token. Takes the same time for every wrong token of the right
    /// length, so that it cannot be guessed digit by digit.
    pub fn is_in(&self, header: Option<&str>) -> bool {
        let Some((scheme, given)) = header.and_then(|h| h.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(self.0.as_bytes().ct_eq(given.trim().as_bytes()))
    }

    /// The token itself, for clients.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::of_dir(dir.path()).unwrap();
        assert_eq!(token, Token::of_dir(dir.path()).unwrap());
        let mode = fs::metadata(dir.path().join(TOKEN_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(token.is_in(Some(&format!("Bearer {}", token.reveal()))));
        for wrong in
            [None, Some(""), Some("Bearer"), Some("Bearer x"), Some("Basic abc"), Some(token.reveal())]
        {
            assert!(!token.is_in(wrong), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains(token.reveal()));
    }

    #[test]
    fn a_token_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        Token::of_dir(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Token::of_dir(dir.path()), Err(HttpError::Exposed { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(Token::of_dir(dir.path()), Err(HttpError::Token { .. })));
    }
}
