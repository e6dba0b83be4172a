;; A guest that reports the bits of results that Wasm leaves to the machine: NaNs and relaxed SIMD. It rejects each
;; message. The reason has the 16 bytes of each result in hexadecimal, in the order of the instructions below, the byte
;; at the lowest address first.
(component
  (import "wasmrun:task/message@0.1.0" (instance $message (export "message" (type (sub resource)))))
  (alias export $message "message" (type $message'))
  (core module $main
    (memory (export "memory") 1)
    (global $at (mut i32) (i32.const 1024))
    ;; A mutable global, so that the engine knows none of the values at compile time.
    (global $zero (mut v128) (v128.const i32x4 0 0 0 0))
    (func $tell (param $result v128)
      (v128.store (global.get $at) (local.get $result))
      (global.set $at (i32.add (global.get $at) (i32.const 16))))
    (func $digit (param $value i32) (result i32)
      (i32.add (local.get $value)
        (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $value) (i32.const 10)))))
    (func (export "handle") (param i32) (result i32) (local $v v128) (local $from i32) (local $to i32)
      (local.set $v (global.get $zero))
      ;; Scalars: 0 / 0, and the square root of -1.
      (call $tell (f32x4.splat (f32.div (f32x4.extract_lane 0 (local.get $v)) (f32x4.extract_lane 0 (local.get $v)))))
      (call $tell (f64x2.splat (f64.div (f64x2.extract_lane 0 (local.get $v)) (f64x2.extract_lane 0 (local.get $v)))))
      (call $tell (f64x2.splat (f64.sqrt (f64.sub (f64x2.extract_lane 0 (local.get $v)) (f64.const 1)))))
      ;; A NaN with a payload and a sign.
      (call $tell (f64x2.splat (f64.add
        (f64x2.extract_lane 0 (local.get $v)) (f64.reinterpret_i64 (i64.const 0xfff8000000001234)))))
      ;; Vectors.
      (call $tell (f32x4.div (local.get $v) (local.get $v)))
      (call $tell (f64x2.div (local.get $v) (local.get $v)))
      (call $tell (f64x2.sqrt (f64x2.sub (local.get $v) (f64x2.splat (f64.const 1)))))
      (call $tell (f32x4.min (local.get $v) (v128.const i32x4 0xffc01234 0x7fc00001 0 0)))
      ;; Relaxed SIMD. Indices beyond the 16th byte.
      (call $tell (i8x16.relaxed_swizzle
        (v128.or (local.get $v) (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16))
        (v128.const i8x16 0 15 16 17 31 32 100 127 -128 -1 3 4 5 6 7 8)))
      ;; Values that no integer of that size can hold.
      (call $tell (i32x4.relaxed_trunc_f32x4_s
        (v128.or (local.get $v) (v128.const i32x4 0x7fc00000 0x4f800000 0xcf800000 0x3f800000))))
      (call $tell (i32x4.relaxed_trunc_f32x4_u
        (v128.or (local.get $v) (v128.const i32x4 0x7fc00000 0x4fc00000 0xbf800000 0x4f000000))))
      (call $tell (i32x4.relaxed_trunc_f64x2_s_zero
        (v128.or (local.get $v) (v128.const i64x2 0x7ff8000000000000 0x7fefffffffffffff))))
      (call $tell (i32x4.relaxed_trunc_f64x2_u_zero
        (v128.or (local.get $v) (v128.const i64x2 0x7ff8000000000000 0x7fefffffffffffff))))
      ;; Fused or not: (1 + e) * (1 - e) - 1 is -e * e or 0.
      (call $tell (f32x4.relaxed_madd
        (v128.or (local.get $v) (v128.const i32x4 0x3f800001 0x3f800001 0x3f800001 0x3f800001))
        (v128.const i32x4 0x3f7ffffe 0x3f7ffffe 0x3f7ffffe 0x3f7ffffe)
        (v128.const i32x4 0xbf800000 0xbf800000 0xbf800000 0xbf800000)))
      (call $tell (f64x2.relaxed_nmadd
        (v128.or (local.get $v) (v128.const i64x2 0x3ff0000000000001 0x3ff0000000000001))
        (v128.const i64x2 0x3feffffffffffffe 0x3feffffffffffffe)
        (v128.const i64x2 0x3ff0000000000000 0x3ff0000000000000)))
      ;; A mask that is neither all ones nor all zeros.
      (call $tell (i8x16.relaxed_laneselect
        (v128.or (local.get $v) (v128.const i32x4 -1 -1 -1 -1)) (local.get $v)
        (v128.const i8x16 0 1 2 4 8 16 32 64 -128 127 -1 3 5 7 9 11)))
      ;; A NaN, and zeros of both signs.
      (call $tell (f32x4.relaxed_min
        (v128.or (local.get $v) (v128.const i32x4 0x7fc00000 0x80000000 0 0x3f800000))
        (v128.const i32x4 0x3f800000 0 0x80000000 0x7fc00000)))
      (call $tell (f64x2.relaxed_max
        (v128.or (local.get $v) (v128.const i64x2 0x7ff8000000000000 0x8000000000000000))
        (v128.const i64x2 0x3ff0000000000000 0)))
      ;; -1 times -1, which overflows by one, and products of bytes whose highest bit may be a sign.
      (call $tell (i16x8.relaxed_q15mulr_s
        (v128.or (local.get $v) (v128.const i16x8 -32768 -32768 32767 1 2 3 4 5))
        (v128.const i16x8 -32768 32767 32767 1 2 3 4 5)))
      (call $tell (i16x8.relaxed_dot_i8x16_i7x16_s
        (v128.or (local.get $v) (v128.const i8x16 -128 -128 127 127 1 2 3 4 5 6 7 8 9 10 11 12))
        (v128.const i8x16 -1 -1 -128 -128 1 2 3 4 5 6 7 8 9 10 11 12)))
      (call $tell (i32x4.relaxed_dot_i8x16_i7x16_add_s
        (v128.or (local.get $v) (v128.const i8x16 -128 -128 -128 -128 1 2 3 4 5 6 7 8 9 10 11 12))
        (v128.const i8x16 -1 -1 -1 -1 1 2 3 4 5 6 7 8 9 10 11 12)
        (v128.const i32x4 1 2 3 4)))

      ;; Returns err(reject(text)), with the text after the results in memory.
      (local.set $from (i32.const 1024))
      (local.set $to (global.get $at))
      (loop $next
        (i32.store8 (local.get $to)
          (call $digit (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4))))
        (i32.store8 offset=1 (local.get $to)
          (call $digit (i32.and (i32.load8_u (local.get $from)) (i32.const 15))))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $from) (global.get $at))))
      (i32.store (i32.const 0) (i32.const 1))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (global.get $at))
      (i32.store (i32.const 12) (i32.sub (local.get $to) (global.get $at)))
      (i32.const 0)))
  (core instance $main (instantiate $main))
  (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
  (export $retry' "retry-request" (type $retry))
  (type $failure (variant (case "retry" $retry') (case "reject" string)))
  (export $failure' "failure" (type $failure))
  (func $handle (param "message" (own $message')) (result (result (error $failure')))
    (canon lift (core func $main "handle") (memory $main "memory")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmrun:task/handler@0.1.0" (instance $handler)))
