//! What every report in HTML begins with: the style of the house, and the way text of others is made safe.
//!
//! A report is one file that can be mailed, archived and read anywhere: no script, nothing loaded from elsewhere, light
//! and dark, wide and narrow. What a report says is not known here.

use std::fmt::Write;

use crate::telemetry::escape;

/// Forbids everything but the styles in the page, should an escape ever be missing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b2129;--soft:#5a6472;--rule:#dfe3e8;--tint:#f4f6f8}
@media (prefers-color-scheme:dark){:root{--paper:#14171c;--ink:#e6e9ee;--soft:#a2abb8;--rule:#2b313b;--tint:#1b2027}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.5rem 0 .75rem}
h3{font-size:1rem;margin:0 0 .25rem}
p{margin:.25rem 0;max-width:46rem;overflow-wrap:anywhere}
.soft,figcaption{color:var(--soft)}
figcaption{font-size:.875rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.5rem 0 0}
.figures div{background:var(--tint);border:1px solid var(--rule);border-radius:.5rem;padding:.6rem .8rem}
.figures dt{color:var(--soft);font-size:.875rem}
.figures dd{margin:0;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}
.figures small{display:block;font-size:.8125rem;color:var(--soft)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--soft);font-size:.875rem;vertical-align:bottom}
thead th{white-space:normal}
th:first-child,.text{text-align:left}
th:first-child{position:sticky;left:0;background:var(--paper)}
tbody th{color:var(--ink);font-size:1rem}
tr.sum td,tr.sum th{color:var(--soft);font-weight:400}
tr.first td,tr.first th{border-top:2px solid var(--rule)}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(27rem,100%),1fr));gap:2rem 2.5rem}
figure{margin:0;min-width:0}
.chart svg{display:block;width:100%;height:auto;margin:.5rem 0}
.chart text{font-family:inherit}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;margin:.75rem 0 1.25rem}
.legend span{display:inline-block;width:1.75rem;border-top:3px solid currentColor;margin-right:.4rem;vertical-align:middle}
.legend .dashed{border-top-style:dashed}
.meaning dt{font-weight:600;margin-top:.75rem}
.meaning dd{margin:0;max-width:46rem}
pre{background:var(--tint);border:1px solid var(--rule);border-radius:.5rem;padding:.75rem 1rem;overflow-x:auto}
@media (max-width:30rem){body{padding:1.25rem .9rem 3rem}h1{font-size:1.4rem}th,td{padding:.35rem .4rem}
tbody th,td{font-size:.9375rem}tr.sum th{white-space:normal}}
@media print{body{max-width:none}figure,table{break-inside:avoid}}
";

/// The beginning of a page, up to and with `<body>`; `title` is safe already, `styles` are added to the house's.
pub fn begin(title: &str, styles: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{styles}</style>\n</head>\n<body>\n"
    )
}

/// Text of somebody else as HTML: one line, no markup, no terminal or direction marks.
pub fn text(raw: &str) -> String {
    let mut safe = String::new();
    for c in escape::line(raw).chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

/// A table; all cells are made safe. The first column and those named hold text, the others numbers.
pub fn table(title: &str, head: &[&str], rows: &[Vec<String>], texts: &[usize]) -> String {
    let class = |column: usize| if texts.contains(&column) { " class=\"text\"" } else { "" };
    let mut html = format!(
        "<h2>{title}</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n<table>\n\
         <thead>\n<tr>",
        title = text(title)
    );
    for (column, cell) in head.iter().enumerate() {
        // Writing into a `String` cannot fail.
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(column), text(cell));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{}</th>", text(cell)),
                _ => write!(html, "<td{}>{}</td>", class(column), text(cell)),
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n"
}

/// Words and their meanings, one sentence each.
pub fn meanings(entries: &[(&str, &str)]) -> String {
    let mut html = "<h2>What the figures mean</h2>\n<dl class=\"meaning\">\n".to_owned();
    for (name, meaning) in entries {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", text(name), text(meaning));
    }
    html + "</dl>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_cell_stays_text() {
        let hostile = "\"'><script>alert(1)</script>&\u{202e}".to_owned();
        let html = begin("t", "") + &table("x", &["a", "b"], &[vec![hostile.clone(), hostile]], &[1]);
        assert!(!html.contains("<script") && !html.contains('\u{202e}'));
        assert!(html.contains("&lt;script&gt;") && html.contains("<td class=\"text\">"));
    }
}
