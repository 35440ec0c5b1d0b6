//! Comma-separated values with quotes, as RFC 4180 describes them.

use anyhow::{Result, bail, ensure};

/// Parses the records of a file, the header first.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<String>>> {
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let record = reader.record()?;
        if record.iter().any(|field| !field.is_empty()) {
            records.push(record);
        }
    }
    ensure!(!records.is_empty(), "the file is empty");
    Ok(records)
}

/// Formats a field, with quotes if it needs them.
pub(super) fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<Vec<String>> {
        let mut fields = vec![self.field()?];
        while let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            fields.push(self.field()?);
        }
        let end = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n'));
        match end {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => {}
            None => bail!("line {}: text after a quoted field", self.line),
        }
        self.line += 1;
        Ok(fields)
    }

    fn field(&mut self) -> Result<String> {
        if self.rest.starts_with('"') {
            return self.quoted_field();
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        let ends_with_return = rest.starts_with('\n') && field.ends_with('\r');
        let field = if ends_with_return { &field[..field.len() - 1] } else { field };
        self.rest = rest;
        Ok(field.to_owned())
    }

    fn quoted_field(&mut self) -> Result<String> {
        let mut field = String::new();
        loop {
            // The quote that opens the field, or the second of a doubled one.
            let inside = &self.rest[1..];
            let Some(end) = inside.find('"') else { bail!("line {}: a quote is not closed", self.line) };
            field.push_str(&inside[..end]);
            self.rest = &inside[end + 1..];
            if !self.rest.starts_with('"') {
                self.line += field.matches('\n').count();
                return Ok(field);
            }
            field.push('"');
        }
    }
}
