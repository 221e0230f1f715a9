/** The curl lines of a whole walk through the shop, as `npm start` prints them. They are run by a test as they stand. */
export function walk({ user, order, curl = 'curl' }: { user: string; order: string; curl?: string }): string {
  return `EMAIL=ada-$RANDOM@example.org
${curl} -sSw '\\n' ${user}/users -H 'content-type: application/json' -d '{"email":"'$EMAIL'","password":"correct horse battery","name":"Ada"}'
TOKEN=$(${curl} -sSw '\\n' ${user}/sessions -H 'content-type: application/json' -d '{"email":"'$EMAIL'","password":"correct horse battery"}' | sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')
${curl} -sSw '\\n' ${order}/products
ANSWER=$(${curl} -sSw '\\n' ${order}/orders -H "authorization: Bearer $TOKEN" -H "idempotency-key: order-$RANDOM" -H 'content-type: application/json' -d '{"items":[{"sku":"iphone-17","quantity":1}]}'); echo "$ANSWER"; ORDER=$(echo "$ANSWER" | sed -n 's/.*"id":"\\([^"]*\\)","state".*/\\1/p')
${curl} -sSw '\\n' ${order}/orders/$ORDER -H "authorization: Bearer $TOKEN"
${curl} -sSw '\\n' ${user}/users/me/credit -H "authorization: Bearer $TOKEN"
${curl} -sSw '\\n' -X POST ${order}/orders/$ORDER/cancellation -H "authorization: Bearer $TOKEN"
${curl} -sSw '\\n' ${user}/users/me/credit -H "authorization: Bearer $TOKEN"
`
}
