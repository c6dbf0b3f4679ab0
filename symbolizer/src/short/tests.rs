use super::*;

fn check(cases: &[(&str, &str)]) {
    for (name, short) in cases {
        assert_eq!(&short_name(name), short, "{name}");
    }
}

/// C++: arguments, parameters and return types go.
#[test]
fn cpp_names() {
    check(&[
        ("main", "main"),
        ("foo(int)", "foo"),
        (
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "std::vector<…>::push_back",
        ),
        ("void foo::bar<int>(int)", "foo::bar<…>"),
        ("unsigned long a::b<c>::d<e>(f)", "a::b<…>::d<…>"),
        (
            "std::function<void (int)>::operator()(int) const",
            "std::function<…>::operator()",
        ),
        ("void f<&(operator<(A, A))>()", "f<…>"),
    ]);
}

/// C++: operators stay, and their signs are taken for no brackets.
#[test]
fn cpp_operators() {
    check(&[
        ("A::operator+(A const&) const", "A::operator+"),
        ("operator<(A const&, A const&)", "operator<"),
        ("bool operator< <int>(A<int> const&)", "operator< <…>"),
        ("bool operator==<int>(A<int> const&)", "operator==<…>"),
        (
            "std::ostream& std::operator<< <char>(std::ostream&, char const*)",
            "std::operator<< <…>",
        ),
        ("A<int>::operator<<(int)", "A<…>::operator<<"),
        ("A<int>::operator>>=(int)", "A<…>::operator>>="),
        ("A<int>::operator<=>(int) const", "A<…>::operator<=>"),
        ("A<int>::operator->() const", "A<…>::operator->"),
        ("A::operator->*(int)", "A::operator->*"),
        ("A::operator()(int) const", "A::operator()"),
        ("A::operator[](unsigned long)", "A::operator[]"),
        ("A::operator bool() const", "A::operator bool"),
        (
            "A::operator unsigned long() const",
            "A::operator unsigned long",
        ),
        (
            "A::operator std::vector<int>()",
            "A::operator std::vector<…>",
        ),
        ("operator new(unsigned long)", "operator new"),
        ("operator delete[](void*)", "operator delete[]"),
        (
            "operator\"\" _s(char const*, unsigned long)",
            "operator\"\" _s",
        ),
        ("my_operator<int>(int)", "my_operator<…>"),
        ("operators::f(int)", "operators::f"),
    ]);
}

/// C++: lambdas, namespaces without a name and what a compiler adds stay; return types of all kinds go.
#[test]
fn cpp_with_more_than_names() {
    check(&[
        ("(anonymous namespace)::f(int)", "(anonymous namespace)::f"),
        (
            "void (anonymous namespace)::f<int>(int)",
            "(anonymous namespace)::f<…>",
        ),
        (
            "f(int)::{lambda(int, char)#1}::operator()(int, char) const",
            "f::{lambda#1}::operator()",
        ),
        (
            "A::f(int) const::{lambda()#2}::operator()() const",
            "A::f::{lambda#2}::operator()",
        ),
        (
            "auto f()::{lambda(auto:1)#1}::operator()<int>(int) const",
            "f::{lambda#1}::operator()<…>",
        ),
        (
            "decltype (a(b)) std::invoke<void (*)(int), int>(void (*)(int), int&&)",
            "std::invoke<…>",
        ),
        (
            "std::enable_if<((sizeof (int))>(4)), int>::type f<int>(int)",
            "f<…>",
        ),
        ("foo(int) [clone .isra.0]", "foo [clone .isra.0]"),
        ("f[abi:cxx11](int)", "f[abi:cxx11]"),
        ("A::f() &&", "A::f"),
        ("vtable for std::vector<int>", "vtable for std::vector<…>"),
        (
            "guard variable for f<int>()::x",
            "guard variable for f<…>::x",
        ),
        (
            "non-virtual thunk to A<int>::f(int)",
            "non-virtual thunk to A<…>::f",
        ),
        ("f(void (*)(int), A<int> const&)", "f"),
        ("void (*)(char) f<int>(int)", "f<…>"),
        (
            "void A<int>::f<int>(int) requires B<int> && C",
            "A<…>::f<…>",
        ),
    ]);
}

/// Rust: qualified paths and closures stay, generic arguments go.
#[test]
fn rust() {
    check(&[
        ("core::fmt::Write::write_fmt", "core::fmt::Write::write_fmt"),
        (
            "<alloc::vec::Vec<u8> as core::ops::drop::Drop>::drop",
            "<alloc::vec::Vec<…> as core::ops::drop::Drop>::drop",
        ),
        ("<T as Trait<U>>::method", "<T as Trait<…>>::method"),
        ("<A<B> as C<D>>::e::<F>", "<A<…> as C<…>>::e::<…>"),
        ("foo::{{closure}}", "foo::{{closure}}"),
        ("foo::<T>::{closure#0}", "foo::<…>::{closure#0}"),
        ("<foo<T>>::bar::{closure#1}", "<foo<…>>::bar::{closure#1}"),
        (
            "core::ptr::drop_in_place::<alloc::boxed::Box<dyn Fn() -> u32>>",
            "core::ptr::drop_in_place::<…>",
        ),
        (
            "core::ptr::drop_in_place<alloc::vec::Vec<u8>>",
            "core::ptr::drop_in_place<…>",
        ),
        (
            "core::fmt::num::<impl core::fmt::Debug for u32>::fmt",
            "core::fmt::num::<impl core::fmt::Debug for u32>::fmt",
        ),
        (
            "a::<impl b::C<d> for e::F<g>>::h",
            "a::<impl b::C<…> for e::F<…>>::h",
        ),
        ("<[T]>::sort", "<[T]>::sort"),
        ("<[T] as A<B>>::sort::<C>", "<[T] as A<…>>::sort::<…>"),
        ("<&A<B> as C>::d", "<&A<…> as C>::d"),
        ("<(A<B>, C) as D>::e", "<(A<…>, C) as D>::e"),
        (
            "<fn(A<B>) -> C as core::ops::FnOnce<(A,)>>::call_once",
            "<fn(A<…>) -> C as core::ops::FnOnce<…>>::call_once",
        ),
        ("<<A as B<C>>::D as E>::f", "<<A as B<…>>::D as E>::f"),
        (
            "<dyn A<B> + 'static as C>::d",
            "<dyn A<…> + 'static as C>::d",
        ),
        ("f::<{ 1 + 2 }>", "f::<…>"),
    ]);
}

/// What is not closed, or has a return type around it, stays whole.
#[test]
fn not_understood() {
    for name in [
        "",
        "<",
        ">",
        "f<",
        "f(",
        "f<(>",
        "operator",
        "a > b",
        "(",
        ")",
        "f{",
        "[x",
        "void (*f<int>(int))(char)",
        "é<",
    ] {
        assert_eq!(short_name(name), name);
    }
}

/// A hundred thousand pieces put together at random never panic, and what comes out is no longer
/// than what went in by more than its ellipses.
#[test]
fn random_names() {
    let pieces = [
        "<",
        ">",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "operator",
        "->",
        " ",
        "::",
        "a",
        "é",
        "…",
        "as",
        "impl ",
        "&",
        "lambda",
        "#1",
        " const",
        " [clone",
        "<<",
        ",",
        "'",
        "vtable for ",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..100_000 {
        let mut name = String::new();
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            name.push_str(pieces[(state >> 32) as usize % pieces.len()]);
        }
        let groups = name.matches('<').count();
        let short = short_name(&name);
        assert!(
            short.len() <= name.len() + groups * ARGUMENTS.len(),
            "{name}"
        );
    }
}

/// The deepest nesting that a name of 4 KiB can have is answered.
#[test]
fn deep_names() {
    for (open, close) in [
        ("<", ">"),
        ("(", ")"),
        ("f<", ">"),
        ("{", "}"),
        ("<(", ")>"),
    ] {
        let name = format!("{}a{}", open.repeat(1000), close.repeat(1000));
        assert!(!short_name(&name).is_empty());
    }
}
