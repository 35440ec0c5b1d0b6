//! Socket options as a table: a row is a method of the platform's `Socket`.

/// Gives `Socket` a method for each row. A row ends with what the option is on this platform:
///
/// - `[A: int, B: int]`: the option with the name `A` for IPv4 and `B` for IPv6, each with the type of its value. A method
///   without an argument turns it on.
/// - `always`: what the method requests always holds, or has no effect.
/// - `unsupported`: the platform lacks it, and the method returns an error.
macro_rules! option_table {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident($($value:ident: $type:ty)?) = $option:tt;)*) => {
        impl Socket {
            $(
                $(#[$attribute])*
                $visibility fn $name(&self, $($value: $type)?) -> io::Result<()> {
                    $crate::option_table::option_row!(self, $option, $($value)?)
                }
            )*
        }
    };
}

macro_rules! option_row {
    ($socket:ident, always, $($value:ident)?) => {{
        $(let _ = $value;)?
        Ok(())
    }};
    ($socket:ident, unsupported, $($value:ident)?) => {{
        $(let _ = $value;)?
        Err(io::ErrorKind::Unsupported.into())
    }};
    ($socket:ident, $option:tt,) => {
        $crate::option_table::option_row!($socket, $option, true)
    };
    ($socket:ident, [$v4:path: $of_v4:ty, $v6:path: $of_v6:ty], $value:expr) => {
        match $socket.family {
            Family::V4 => $socket.set(IPPROTO_IP, $v4, <$of_v4>::from($value)),
            Family::V6 => $socket.set(IPPROTO_IPV6, $v6, <$of_v6>::from($value)),
        }
    };
}

pub(crate) use {option_row, option_table};
