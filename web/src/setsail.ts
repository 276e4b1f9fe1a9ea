/** What `model.js` of a site gives to a JavaScript project. */

export { Fault } from "./fault";
export { Model, load } from "./model";
