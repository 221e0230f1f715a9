/** Names as protobuf's style guide has them, from names of a contract. */

const words = (name: string): string[] =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])(?=[A-Z][a-z])/g, '$1_')
    .split(/[^A-Za-z0-9]+/)
    .filter(word => word !== '')

const upperCamel = (name: string): string =>
  words(name)
    .map(word => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase())
    .join('')

/** `orderId` is `order_id`. */
export const fieldName = (key: string): string => words(key).join('_').toLowerCase()

/** `reserveCredit` is `ReserveCredit`. */
export const methodName = upperCamel

/** `user` is `UserService`. */
export const serviceName = (service: string): string => `${upperCamel(service)}Service`

/** A message without a title is called after where it is: `total` of ReserveCredit is `ReserveCreditTotal`. */
export const typeName = (within: string, key: string): string => `${within}${upperCamel(key)}`

/** `in-stock` of `State` is `STATE_IN_STOCK`: an enum's values share its package's names. */
export const enumValueName = (name: string, value: string): string => `${words(name).join('_')}_${words(value).join('_')}`.toUpperCase()

/** `credit-exceeded` is `CREDIT_EXCEEDED`, as reasons of google.rpc.ErrorInfo are written. */
export const reasonOf = (code: string): string => code.replaceAll('-', '_').toUpperCase()

/** The code behind a reason. */
export const codeOf = (reason: string): string => reason.replaceAll('_', '-').toLowerCase()

/** A title is written as people read it: `Order item` is `OrderItem`. */
export const titleName = upperCamel

/** As protoc derives it. */
export const jsonName = (name: string): string => name.replace(/_+([a-z0-9]?)/g, (_, letter: string) => letter.toUpperCase())

/** The message that protobuf puts into another for a map of it. */
export const mapEntryName = (field: string): string => {
  const name = jsonName(field)
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}Entry`
}

/** What protoc compares values of an enum by: without the enum's name, in UpperCamelCase. */
export const valuesAsJson = (name: string, value: string): string =>
  value
    .slice(enumValueName(name, '').length)
    .split('_')
    .map(word => word.charAt(0) + word.slice(1).toLowerCase())
    .join('')
