declare module 'wasmrun:task/message@0.1.0' {
  /**
   * The value of an attribute. A number arrives as `text`.
   */
  export type AttributeValue = AttributeValueText | AttributeValueBinary;
  export interface AttributeValueText {
    tag: 'text',
    val: string,
  }
  export interface AttributeValueBinary {
    tag: 'binary',
    val: Uint8Array,
  }
  /**
   * A name and a value that the sender put next to the body.
   */
  export interface Attribute {
    name: string,
    value: AttributeValue,
  }
  /**
   * What happened to an object.
   * # Variants
   * 
   * ## `"created"`
   * 
   * ## `"removed"`
   * 
   * ## `"other"`
   * 
   * Any other change that a store announces: restored, tagged, ...
   */
  export type Change = 'created' | 'removed' | 'other';
  /**
   * An object that the message announces, under the alias of a store that this task may read.
   */
  export interface AnnouncedObject {
    /**
     * Alias of the store, for `store.open`.
     */
    store: string,
    /**
     * Key of the object, relative to that store.
     */
    key: string,
    /**
     * Version to read, if the store keeps versions.
     */
    version?: string,
    etag?: string,
    /**
     * Size in bytes when the change was announced. The object may have changed since.
     */
    size?: bigint,
    change: Change,
    /**
     * Orders the events of one key. Compare the values of one key as text, after padding them to equal length.
     */
    sequencer?: string,
  }
  
  export class Message implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Returns the queue's id of the message, which is the same for each delivery.
    */
    id(): string;
    /**
    * Returns the text that was sent. The text is empty if the host decoded an event into `objects`, unless the
    * user asked for the raw body.
    */
    body(): string;
    attributes(): Array<Attribute>;
    /**
    * Returns the number of deliveries of the message, including this one: 1 or more.
    */
    receiveCount(): number;
    /**
    * Returns the time at which the message was sent, in milliseconds since 1970 (UTC).
    */
    sentAt(): bigint;
    /**
    * Returns the message group. On a FIFO queue, the tasks of one group run in order.
    */
    group(): string | undefined;
    /**
    * Returns the objects that the message announces. The list is empty if the message isn't a store's event.
    */
    objects(): Array<AnnouncedObject>;
    [Symbol.dispose](): void;
  }
}
