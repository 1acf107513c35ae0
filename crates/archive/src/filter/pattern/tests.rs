use proptest::prelude::*;

use super::*;

fn list(patterns: &[&str]) -> PatternList {
    PatternList::compile(patterns, Case::Sensitive).unwrap()
}

fn is_match(pattern: &str, path: &str) -> bool {
    list(&[pattern]).is_match(Path::new(path))
}

#[test]
fn patterns_match_paths_as_in_restic() {
    let cases = [
        ("foo", "/a/foo", true),
        ("foo", "/a/foo/b", true),
        ("foo", "/a/foobar", false),
        ("*.go", "/foo/bar/test.go", true),
        ("*.go", "/foo/bar/test.go/x.txt", true),
        ("/foo", "/foo/bar", true),
        ("/foo", "/x/foo", false),
        ("/foo/*", "/foo", false),
        ("/foo/*", "/foo/x/y", true),
        ("foo/bar", "/x/foo/bar/y", true),
        ("foo/bar", "/x/foo/y/bar", false),
        ("/foo/**/bar", "/foo/bar", true),
        ("/foo/**/bar", "/foo/a/b/bar/c", true),
        ("/foo/**/bar", "/x/foo/bar", false),
        ("foo/**/bar", "/x/foo/a/bar", true),
        ("foo/**", "/x/foo", true),
        ("**/foo", "/foo", true),
        ("**/a/**/b/**", "/x/a/y/b", true),
        ("**/a/**/b/**", "/x/b/y/a", false),
        ("/", "/anything/at/all", true),
        ("/*", "/a/b", true),
        ("./foo/", "/a/foo", true),
        ("/home/[^a]*/x", "/home/bob/x", true),
        ("/home/[^a]*/x", "/home/alice/x", false),
        ("a**b", "/aXb", true),
        ("a**b", "/a/b", false),
        ("foo", "foo", true),
        ("/foo", "foo", false),
    ];
    for (pattern, path, expected) in cases {
        assert_eq!(is_match(pattern, path), expected, "{pattern:?} on {path:?}");
    }
}

#[test]
fn an_anchored_pattern_says_where_it_may_still_match() {
    let cases = [
        ("/home/user/x", "/", true),
        ("/home/user/x", "/home", true),
        ("/home/user/x", "/home/other", false),
        ("/home/**/x", "/home/a/b/c", true),
        ("/home/**/x", "/var", false),
        ("x", "/any/where", true),
        ("/home/user/x", "/home/user/x/y/z", true),
    ];
    for (pattern, path, expected) in cases {
        assert_eq!(
            list(&[pattern]).matches(Path::new(path)).may_match_below,
            expected,
            "{pattern:?} on {path:?}"
        );
    }
}

#[test]
fn a_negated_pattern_takes_back_what_came_before_it() {
    let patterns = list(&["*.log", "!keep.log", "/x/keep.log"]);
    assert!(patterns.is_match(Path::new("/a/b.log")));
    assert!(!patterns.is_match(Path::new("/a/keep.log")));
    assert!(patterns.is_match(Path::new("/x/keep.log")));
}

#[test]
fn case_is_ignored_where_asked() {
    let patterns = PatternList::compile(&["*.JPG", "ÄRGER"], Case::Insensitive).unwrap();
    assert!(patterns.is_match(Path::new("/a/b.Jpg")));
    assert!(patterns.is_match(Path::new("/a/ärger/x")));
    assert!(!is_match("*.JPG", "/a/b.jpg"));
}

#[test]
fn a_wrong_pattern_is_named() {
    let error = PatternList::compile(&["fine", "foo/[a"], Case::Sensitive).unwrap_err();
    assert!(error.to_string().contains("foo/[a"), "{error}");
}

#[test]
fn no_pattern_matches_nothing() {
    assert!(!list(&[]).is_match(Path::new("/a")));
    assert!(!list(&[""]).matches(Path::new("/a")).may_match_below);
}

proptest! {
    #[test]
    fn what_matches_a_directory_matches_everything_below(
        pattern in "/?([ab*?]{1,2}|\\*\\*)(/([ab*?]{1,2}|\\*\\*)){0,3}",
        path in "(/[ab]{1,2}){1,4}",
        below in "(/[ab]{1,2}){1,3}",
    ) {
        if is_match(&pattern, &path) {
            let deeper = format!("{path}{below}");
            prop_assert!(is_match(&pattern, &deeper));
        }
    }

    #[test]
    fn a_parent_of_a_match_may_match_below(
        pattern in "/?([ab*?]{1,2}|\\*\\*)(/([ab*?]{1,2}|\\*\\*)){0,3}",
        path in "(/[ab]{1,2}){2,5}",
    ) {
        if is_match(&pattern, &path) {
            for parent in Path::new(&path).ancestors().skip(1) {
                prop_assert!(list(&[pattern.as_str()]).matches(parent).may_match_below, "{}", parent.display());
            }
        }
    }

    #[test]
    fn an_anchored_pattern_matches_where_the_free_one_does(name in "[ab*?]{1,3}", path in "(/[ab]{1,3}){1,4}") {
        if is_match(&format!("/{name}"), &path) {
            prop_assert!(is_match(&name, &path));
        }
    }
}
