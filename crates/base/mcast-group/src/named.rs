//! Enumerations whose variants have names.

/// Declares an enumeration with the name of each of its variants, so that they are listed once. It has `ALL`, in this order, the
/// function that returns the name, and [`Display`](core::fmt::Display), which writes it.
///
/// ```
/// mcast_group::named! {
///     /// A direction.
///     #[derive(Clone, Copy, Debug, PartialEq, Eq)]
///     pub enum Direction {
///         /// Away from here.
///         Out = "outgoing",
///         /// To here.
///         In = "incoming",
///     }
///     /// Returns its name, as in JSON.
///     fn name;
/// }
/// assert_eq!(Direction::ALL.map(Direction::name), ["outgoing", "incoming"]);
/// assert_eq!(Direction::In.to_string(), "incoming");
/// ```
///
/// Without the last line, it only has `Display`.
#[macro_export]
macro_rules! named {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $type:ident {
            $($(#[$doc:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        $visibility enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $name,)+
                })
            }
        }
    };
    (
        $(#[$meta:meta])*
        $visibility:vis enum $type:ident {
            $($(#[$doc:meta])* $variant:ident = $name:literal,)+
        }
        $(#[$of_name:meta])*
        fn $function:ident;
    ) => {
        $(#[$meta])*
        $visibility enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl $type {
            /// All of them, in the order of their declaration.
            #[allow(dead_code, reason = "some are never listed")]
            $visibility const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            $(#[$of_name])*
            #[must_use]
            $visibility const fn $function(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.$function())
            }
        }
    };
}
