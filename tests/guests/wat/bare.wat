;; A frame for guests that Rust can't express. The first two characters of the message are the number of the function to
;; call from (;cases;). The test that defines these functions describes them. A function takes the message's handle and
;; returns the address of the result. Other parts of a component are inserted at (;parts;).
;;
;; Memory: results at 0, and all data from the host at 1 MiB, such as the message's body. The allocator always returns
;; that address, or does what the global `allocator` selects. So allocations cost this guest nothing, and its loops cost
;; next to nothing.
(component
  (import "wasmrun:task/message@0.1.0" (instance $message
    (export "message" (type $message (sub resource)))
    (export "[method]message.body" (func (param "self" (borrow $message)) (result string)))
    (export "[method]message.receive-count" (func (param "self" (borrow $message)) (result u32)))))
  (alias export $message "message" (type $message'))

  (import "wasmrun:task/object-store@0.1.0" (instance $object-store
    (type $error (variant (case "not-found") (case "access-denied") (case "too-large") (case "precondition-failed")
      (case "unavailable") (case "other" string)))
    (export "error" (type $error' (eq $error)))
    (type $object-info (record (field "key" string) (field "size" u64) (field "etag" (option string))
      (field "version" (option string)) (field "content-type" (option string))
      (field "cache-control" (option string)) (field "metadata" (list (tuple string string))) (field "modified-at" (option u64))))
    (export "object-info" (type $object-info' (eq $object-info)))
    (type $condition (variant (case "always") (case "if-absent") (case "if-match" string)))
    (export "condition" (type $condition' (eq $condition)))
    (type $put-options (record (field "content-type" (option string)) (field "cache-control" (option string))
      (field "metadata" (list (tuple string string))) (field "condition" $condition')))
    (export "put-options" (type $put-options' (eq $put-options)))
    (export "store" (type $store (sub resource)))
    (export "[static]store.open" (func (param "alias" string) (result (result (own $store) (error $error')))))
    (export "[method]store.put" (func (param "self" (borrow $store)) (param "key" string) (param "content" (list u8))
      (param "options" $put-options') (result (result $object-info' (error $error')))))))
  (alias export $object-store "store" (type $store'))

  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable'))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable' (type $pollable''))
    (export "pollable" (type $pollable (eq $pollable'')))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  ;; A resource type of the component, whose handles the host keeps.
  (type $thing (resource (rep i32)))

  (core module $memory
    (type $realloc (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 64)
    (global (export "allocator") (mut i32) (i32.const 0))
    (table (export "allocators") 16 funcref)
    (func $same (type $realloc) (i32.const 0x100000))
    (elem (i32.const 0) $same)
    (func (export "realloc") (type $realloc)
      (call_indirect (type $realloc) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (global.get 0))))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $message.drop (canon resource.drop $message'))
  (core func $message.body (canon lower (func $message "[method]message.body") (memory $mem) (realloc $realloc)))
  (core func $message.receive-count (canon lower (func $message "[method]message.receive-count")))
  (core func $store.drop (canon resource.drop $store'))
  (core func $store.open (canon lower (func $object-store "[static]store.open") (memory $mem) (realloc $realloc)))
  (core func $store.put (canon lower (func $object-store "[method]store.put") (memory $mem) (realloc $realloc)))
  (core func $random (canon lower (func $random "get-random-bytes") (memory $mem) (realloc $realloc)))
  (core func $poll (canon lower (func $poll "poll") (memory $mem) (realloc $realloc)))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $thing.new (canon resource.new $thing))
  (core func $thing.rep (canon resource.rep $thing))
  (core func $thing.drop (canon resource.drop $thing))

  (;parts;)

  (core module $main
    (type $realloc (func (param i32 i32 i32 i32) (result i32)))
    (type $case (func (param i32) (result i32)))
    (import "memory" "memory" (memory 64))
    (import "memory" "allocator" (global $allocator (mut i32)))
    (import "memory" "allocators" (table $allocators 16 funcref))
    (import "host" "message.drop" (func $message.drop (param i32)))
    (import "host" "message.body" (func $message.body (param i32 i32)))
    (import "host" "message.receive-count" (func $message.receive-count (param i32) (result i32)))
    (import "host" "store.drop" (func $store.drop (param i32)))
    (import "host" "store.open" (func $store.open (param i32 i32 i32)))
    (import "host" "store.put"
      (func $store.put (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "random" (func $random (param i64 i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "thing.new" (func $thing.new (param i32) (result i32)))
    (import "host" "thing.rep" (func $thing.rep (param i32) (result i32)))
    (import "host" "thing.drop" (func $thing.drop (param i32)))

    (data (i32.const 16) "output")
    (data (i32.const 32) "\ff\fe\c0\80")
    (global $canary (mut i32) (i32.const 0))
    (global $after (mut i32) (i32.const 0))
    (table $table 64 1000000 funcref)
    ;; The message's handle, for allocators that call the host.
    (global $kept (mut i32) (i32.const 0))

    ;; ok
    (func $ok (result i32)
      (i32.store (i32.const 0) (i32.const 0))
      (i32.const 0))
    ;; err(reject(text))
    (func $reject (param $text i32) (param $bytes i32) (result i32)
      (i32.store (i32.const 0) (i32.const 1))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (local.get $text))
      (i32.store (i32.const 12) (local.get $bytes))
      (i32.const 0))
    ;; Opens the store `output`, which exists.
    (func $open (result i32)
      (call $store.open (i32.const 16) (i32.const 6) (i32.const 64))
      (i32.load (i32.const 68)))
    ;; Puts the content "o" under the key at an address and length, with a number of metadata entries, which are at 1.5
    ;; MiB.
    (func $put (param $store i32) (param $key i32) (param $bytes i32) (param $metadata i32)
      (call $store.put (local.get $store) (local.get $key) (local.get $bytes) (i32.const 16) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0x180000) (local.get $metadata)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64)))

    ;; Allocators.
    (func $outside (type $realloc) (i32.const -65536))
    (func $misaligned (type $realloc) (i32.const 0x100001))
    (func $traps (type $realloc) unreachable)
    (func $spins (type $realloc) (loop $again (br $again)) unreachable)
    (func $calls-host (type $realloc) (call $message.receive-count (global.get $kept)))
    (func $recurses (type $realloc)
      (call $recurses (local.get 0) (local.get 1) (local.get 2) (local.get 3))
      (i32.add (i32.const 1)))
    (func $grows (type $realloc)
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
      (i32.const 0x100000))
    (elem (table $allocators) (i32.const 1) func
      $outside $misaligned $traps $spins $calls-host $recurses $grows)

    (;cases;)

    (func (export "handle") (param $message i32) (result i32)
      (call $message.body (local.get $message) (i32.const 64))
      (global.set $kept (local.get $message))
      (call_indirect $cases (type $case)
        (local.get $message)
        (i32.add
          (i32.mul (i32.sub (i32.load8_u (i32.const 0x100000)) (i32.const 48)) (i32.const 10))
          (i32.sub (i32.load8_u (i32.const 0x100001)) (i32.const 48)))))
    ;; The engine calls this after reading the result.
    (func (export "after") (param $result i32)
      (block $call (block $trap (block $spin (block $fine
        (br_table $fine $spin $trap $call (global.get $after)))
        return)
        (loop $again (br $again)))
        unreachable)
      (drop (call $message.receive-count (global.get $kept)))))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "message.drop" (func $message.drop))
      (export "message.body" (func $message.body))
      (export "message.receive-count" (func $message.receive-count))
      (export "store.drop" (func $store.drop))
      (export "store.open" (func $store.open))
      (export "store.put" (func $store.put))
      (export "random" (func $random))
      (export "poll" (func $poll))
      (export "subscribe" (func $subscribe))
      (export "thing.new" (func $thing.new))
      (export "thing.rep" (func $thing.rep))
      (export "thing.drop" (func $thing.drop))))))

  (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
  (export $retry' "retry-request" (type $retry))
  (type $failure (variant (case "retry" $retry') (case "reject" string)))
  (export $failure' "failure" (type $failure))
  (func $handle (param "message" (own $message')) (result (result (error $failure')))
    (canon lift (core func $main "handle") (memory $mem) (realloc $realloc) (post-return (func $main "after"))))
  (instance $handler
    (export "retry-request" (type $retry')) (export "failure" (type $failure')) (export "handle" (func $handle)))
  (export "wasmrun:task/handler@0.1.0" (instance $handler)))
