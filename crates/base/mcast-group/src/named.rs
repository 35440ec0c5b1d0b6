//! One list of the values of an enum with their names.

/// Declares an enum whose values have names, `ALL` of its values in their order, and the function that returns the name.
#[doc(hidden)]
#[macro_export]
macro_rules! named {
    (
        $(#[$meta:meta])*
        $vis:vis enum $type:ident {
            $($(#[$doc:meta])* $value:ident => $name:literal,)*
        }
        $(#[$of_all:meta])*
        $vis_of_all:vis const ALL;
        $(#[$of_name:meta])*
        $vis_of_name:vis fn $name_of:ident;
    ) => {
        $(#[$meta])*
        $vis enum $type {
            $($(#[$doc])* $value,)*
        }

        impl $type {
            $(#[$of_all])*
            $vis_of_all const ALL: [Self; [$($name),*].len()] = [$(Self::$value),*];

            $(#[$of_name])*
            #[must_use]
            $vis_of_name const fn $name_of(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }
    };
}
