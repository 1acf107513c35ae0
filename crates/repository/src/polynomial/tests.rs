use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

#[test]
fn known_polynomials_are_told_apart_by_irreducibility() {
    // Degree 8 and 53 polynomials of the literature: the AES field, the one in the published
    // tests of restic's chunker, and the two that real `restic init` wrote into the fixtures.
    for irreducible in [
        0b10,
        0b11,
        0b111,
        0x11b,
        0x3D_A335_8B4D_C173,
        0x38_aa64_3101_0177,
        0x3d_178b_3347_dbeb,
    ] {
        assert!(Polynomial(irreducible).is_irreducible(), "{irreducible:#x}");
    }
    for reducible in [
        0,
        1,
        0b101,
        0b110,
        0x100,
        0x11a,
        0x38_f8af_e6d2_d05d ^ 1,
        0x3D_A335_8B4D_C175,
    ] {
        assert!(!Polynomial(reducible).is_irreducible(), "{reducible:#x}");
    }
}

#[test]
fn irreducibility_agrees_with_trial_division_for_all_small_polynomials() {
    for bits in 2..4096u64 {
        let divisible = (2..bits)
            .filter(|divisor| divisor.ilog2() * 2 <= bits.ilog2())
            .any(|divisor| Polynomial(bits).modulo(Polynomial(divisor)) == Polynomial(0));
        assert_eq!(Polynomial(bits).is_irreducible(), !divisible, "{bits:#b}");
    }
}

#[test]
fn random_polynomials_fit_the_chunker_and_differ() {
    let mut rng = StdRng::seed_from_u64(7);
    let first = Polynomial::random(&mut rng);
    let second = Polynomial::random(&mut rng);
    assert!(first.is_chunker_polynomial() && second.is_chunker_polynomial());
    assert_ne!(first, second);
}

#[test]
fn the_text_is_plain_lower_case_hexadecimal() {
    assert_eq!(
        Polynomial(0x38_aa64_3101_0177).to_string(),
        "38aa6431010177"
    );
    assert_eq!(
        "3DA3358B4DC173".parse(),
        Ok(Polynomial(0x3D_A335_8B4D_C173))
    );
    for wrong in ["", "0x12", "+12", "-1", "xyz", "12345678901234567", " 12"] {
        assert!(wrong.parse::<Polynomial>().is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn products_obey_the_laws_of_the_field(a: u64, b: u64, c: u64) {
        let modulus = Polynomial(0x3D_A335_8B4D_C173);
        let (a, b, c) = (Polynomial(a), Polynomial(b), Polynomial(c));
        let product = |x: Polynomial, y| x.multiply_modulo(y, modulus);
        prop_assert_eq!(product(a, b), product(b, a));
        prop_assert_eq!(product(product(a, b), c), product(a, product(b, c)));
        prop_assert_eq!(product(a, b.plus(c)), product(a, b).plus(product(a, c)));
        prop_assert_eq!(product(a, Polynomial(1)), a.modulo(modulus));
    }

    #[test]
    fn the_common_divisor_divides_both(a in 1u64.., b in 1u64..) {
        let divisor = Polynomial(a).gcd(Polynomial(b));
        prop_assert_eq!(Polynomial(a).modulo(divisor), Polynomial(0));
        prop_assert_eq!(Polynomial(b).modulo(divisor), Polynomial(0));
    }
}
