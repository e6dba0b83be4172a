declare module 'wasmrun:task/object-store@0.1.0' {
  /**
   * Reason why a call failed.
   */
  export type Error = ErrorNotFound | ErrorAccessDenied | ErrorTooLarge | ErrorPreconditionFailed | ErrorUnavailable | ErrorOther;
  /**
   * There is no such object.
   */
  export interface ErrorNotFound {
    tag: 'not-found',
  }
  /**
   * There is no such grant, the grant's mode or prefix doesn't allow the call, or the store refuses the call to
   * the worker.
   */
  export interface ErrorAccessDenied {
    tag: 'access-denied',
  }
  /**
   * The object, or the content written so far, exceeds a limit. Ranges and readers still work.
   */
  export interface ErrorTooLarge {
    tag: 'too-large',
  }
  /**
   * The condition of a write wasn't met.
   */
  export interface ErrorPreconditionFailed {
    tag: 'precondition-failed',
  }
  /**
   * The store can't be reached or refuses work for now, or other clients are changing the object. Return this
   * error: the message is retried later, and a failure of the store isn't counted as the task's.
   */
  export interface ErrorUnavailable {
    tag: 'unavailable',
  }
  /**
   * Any other error, as text: a malformed key, an unsupported option.
   */
  export interface ErrorOther {
    tag: 'other',
    val: string,
  }
  /**
   * Properties of an object.
   */
  export interface ObjectInfo {
    key: string,
    /**
     * Size in bytes.
     */
    size: bigint,
    /**
     * Etag of the object, which changes whenever the content changes.
     */
    etag?: string,
    version?: string,
    contentType?: string,
    /**
     * How long, and by whom, an HTTP response with the object may be cached, in the form of RFC 9111.
     */
    cacheControl?: string,
    /**
     * Names and values that the writer stored with the content.
     */
    metadata: Array<[string, string]>,
    /**
     * Time of the last change, in milliseconds since 1970 (UTC).
     */
    modifiedAt?: bigint,
  }
  /**
   * One entry of a listing.
   */
  export interface ObjectSummary {
    key: string,
    /**
     * Size in bytes.
     */
    size: bigint,
    etag?: string,
    /**
     * Time of the last change, in milliseconds since 1970 (UTC).
     */
    modifiedAt?: bigint,
  }
  /**
   * One page of a listing, in the order of the keys' bytes.
   */
  export interface ObjectPage {
    objects: Array<ObjectSummary>,
    /**
     * Token for the next call; `none` on the last page.
     */
    continuation?: string,
  }
  /**
   * Condition under which a write takes place.
   */
  export type Condition = ConditionAlways | ConditionIfAbsent | ConditionIfMatch;
  export interface ConditionAlways {
    tag: 'always',
  }
  /**
   * Writes only if the key doesn't exist.
   */
  export interface ConditionIfAbsent {
    tag: 'if-absent',
  }
  /**
   * Writes only if the object has this etag.
   */
  export interface ConditionIfMatch {
    tag: 'if-match',
    val: string,
  }
  /**
   * Options for writing an object.
   */
  export interface PutOptions {
    contentType?: string,
    /**
     * Value of the header `Cache-Control` with which the object is served, such as `public, max-age=3600`.
     */
    cacheControl?: string,
    metadata: Array<[string, string]>,
    condition: Condition,
  }
  /**
   * An object with its content.
   */
  export interface Object {
    info: ObjectInfo,
    content: Uint8Array,
  }
  
  export class Reader implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    info(): ObjectInfo;
    /**
    * Returns the next bytes: at most `max` and at most 1 MiB. Empty only at the end.
    */
    read(max: bigint): Uint8Array;
    [Symbol.dispose](): void;
  }
  
  export class Store implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Opens the store with this alias. The error is `access-denied` if there is none.
    */
    static open(alias: string): Store;
    head(key: string, version: string | undefined): ObjectInfo;
    /**
    * Returns the whole object. The error is `too-large` if the object exceeds the limit for whole objects: use a
    * reader for these.
    */
    get(key: string, version: string | undefined): Object;
    /**
    * Returns at most `length` bytes from `offset`: fewer at the end of the object, and none beyond it.
    */
    getRange(key: string, version: string | undefined, offset: bigint, length: bigint): Uint8Array;
    /**
    * Opens a reader at the start of an object of any size.
    */
    read(key: string, version: string | undefined): Reader;
    /**
    * Writes a whole object, all or nothing. The object is durable when the call returns.
    */
    put(key: string, content: Uint8Array, options: PutOptions): ObjectInfo;
    /**
    * Opens a writer for an object of any size, which is written all or nothing.
    */
    write(key: string, options: PutOptions): Writer;
    /**
    * Returns at most `limit` objects, and at most 1,000, whose keys start with `prefix`. With a limit of 0 the
    * page has no objects and no continuation.
    */
    listObjects(prefix: string, continuation: string | undefined, limit: number): ObjectPage;
    /**
    * Deletes an object. Also succeeds if there is none.
    */
    'delete'(key: string): void;
    /**
    * Copies an object with its content type, cache control and metadata, within the stores' service where that is possible.
    */
    copy(key: string, version: string | undefined, to: Store, toKey: string, condition: Condition): ObjectInfo;
    [Symbol.dispose](): void;
  }
  
  export class Writer implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    write(content: Uint8Array): void;
    /**
    * Makes the object visible. The object is durable when the call returns.
    */
    static finish(this_: Writer): ObjectInfo;
    [Symbol.dispose](): void;
  }
}
