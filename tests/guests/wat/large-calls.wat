;; A guest whose calls take more memory in the host than in the guest. The message's text selects the call. All 384
;; pages of the guest's memory are in use, and half of them go into one call.
;;
;; `latin-1`: a key that needs twice the bytes in the host. `short-texts`: a list of shortest possible strings, each of
;; which needs an allocation. `reason`: a reason that is kept after the task's end.
(component
  (import "wasmrun:task/message@0.1.0" (instance $message
    (export "message" (type $message (sub resource)))
    (export "[method]message.body" (func (param "self" (borrow $message)) (result string)))))
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
    (export "[method]store.delete" (func (param "self" (borrow $store)) (param "key" string)
      (result (result (error $error')))))
    (export "[method]store.put" (func (param "self" (borrow $store)) (param "key" string) (param "content" (list u8))
      (param "options" $put-options') (result (result $object-info' (error $error')))))))

  (core module $memory
    (memory (export "memory") 384)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $body (canon lower (func $message "[method]message.body") (memory $mem) (realloc $realloc)))
  (core func $open (canon lower (func $object-store "[static]store.open") (memory $mem) (realloc $realloc)))
  (core func $delete (canon lower (func $object-store "[method]store.delete")
    (memory $mem) (realloc $realloc) string-encoding=latin1+utf16))
  (core func $put (canon lower (func $object-store "[method]store.put") (memory $mem) (realloc $realloc)))

  (core module $main
    (import "memory" "memory" (memory 384))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "delete" (func $delete (param i32 i32 i32 i32)))
    (import "host" "put" (func $put (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (data (i32.const 16) "output")

    ;; Results are at 64. The last 20 MiB hold the arguments of a call.
    (func $store (result i32)
      (call $open (i32.const 16) (i32.const 6) (i32.const 64))
      (i32.load (i32.const 68)))
    (func $fill (param $byte i32)
      (memory.fill (i32.const 0x400000) (local.get $byte) (i32.const 0x1400000)))

    (func $latin-1 (result i32)
      (call $fill (i32.const 0xe9))
      (call $delete (call $store) (i32.const 0x400000) (i32.const 0xc00000) (i32.const 64))
      (i32.const 0))
    (func $short-texts (result i32) (local $at i32)
      (call $fill (i32.const 0x61))
      (local.set $at (i32.const 0x800000))
      (loop $next
        (i32.store (local.get $at) (i32.const 0x400000))
        (i32.store offset=4 (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 0xb80000))))
      (call $put (call $store) (i32.const 16) (i32.const 6) (i32.const 16) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0x800000) (i32.const 0x38000)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
      (i32.const 0))
    (func $reason (result i32)
      (call $fill (i32.const 0xe9))
      (i32.store8 (i32.const 0) (i32.const 1))
      (i32.store8 (i32.const 4) (i32.const 1))
      (i32.store (i32.const 8) (i32.const 0x400000))
      (i32.store (i32.const 12) (i32.const 0xc00000))
      (i32.const 0))

    (func (export "handle") (param $message i32) (result i32) (local $first i32)
      (call $body (local.get $message) (i32.const 64))
      (local.set $first (i32.load8_u (i32.load (i32.const 64))))
      (if (i32.eq (local.get $first) (i32.const 0x6c)) (then (return (call $latin-1))))
      (if (i32.eq (local.get $first) (i32.const 0x73)) (then (return (call $short-texts))))
      (call $reason)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "body" (func $body)) (export "open" (func $open))
      (export "delete" (func $delete)) (export "put" (func $put))))))

  (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
  (export $retry' "retry-request" (type $retry))
  (type $failure (variant (case "retry" $retry') (case "reject" string)))
  (export $failure' "failure" (type $failure))
  (func $handle (param "message" (own $message')) (result (result (error $failure')))
    (canon lift (core func $main "handle") (memory $mem) (realloc $realloc) string-encoding=latin1+utf16))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmrun:task/handler@0.1.0" (instance $handler)))
